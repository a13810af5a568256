package prepare

import (
	"regexp"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// knownToTemplate takes out of the unused fields those of messages that the chat template names: it is given the messages whole.
func (d *driver) knownToTemplate() error {
	source := ""
	for name := range d.res.Tally.Unused {
		at := strings.Index(name, "[].")
		if at < 0 || strings.HasPrefix(name, "conversations") {
			continue
		}
		if source == "" {
			var err error
			if source, err = d.templates(); err != nil || source == "" {
				return err
			}
		}
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(name[at+3:]) + `\b`).MatchString(source) {
			delete(d.res.Tally.Unused, name)
		}
	}
	return nil
}

// templates is the text of the chat templates that may be used.
func (d *driver) templates() (string, error) {
	if d.cfg.ChatTemplate != "" {
		b, err := storage.ReadSmall(d.cfg.ChatTemplate, storage.KindTemplate)
		return string(b), err
	}
	if !storage.IsLocal(d.tokenizer) {
		return "", nil
	}
	set, err := chat.Load(d.tokenizer)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, t := range set {
		b.WriteString(t.Source + "\n")
	}
	return b.String(), nil
}
