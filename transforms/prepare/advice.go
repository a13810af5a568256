package prepare

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// advice says what to do about input of which every record was rejected: of several reasons about that which the settings can mend.
func (d *driver) advice() string {
	if d.cfg.Answers == datasets.KindPrompt {
		return "; " + datasets.PromptAdvice + d.seen()
	}
	if d.cfg.Answers != "" {
		return "; " + datasets.AnswersAdvice + d.seen()
	}
	for _, l := range d.res.Layouts {
		switch auto := d.cfg.RowKind == "" || d.cfg.RowKind == datasets.RowAuto; {
		case auto && strings.HasSuffix(l, datasets.RowUnpaired):
			return "; " + datasets.UnpairedAdvice
		case auto && strings.HasSuffix(l, datasets.RowPreference):
			return "; " + datasets.PreferenceAdvice
		}
	}
	switch rejected := d.res.Rejected; {
	case rejected[datasets.ReasonMissingText] > 0 && d.cfg.RowKind == datasets.RowPlain:
		return fmt.Sprintf("; row_kind is plain, and rows have no text in %q: name the field with text_column, or set row_kind to auto "+
			"for rows of several fields",
			cmp.Or(d.cfg.TextColumn, "text")) + d.seen()
	case rejected[datasets.ReasonMissingText] > 0:
		return "; rows have neither the text column nor the fields of a known kind (prompt and completion, messages, conversations, " +
			"instruction and output): " +
			"name theirs with text_column, or columns as {prompt: question, completion: answer}" + d.seen()
	case rejected[datasets.ReasonWrongRow] > 0:
		return d.seen()
	case rejected[tokenize.Name+"."+datasets.ReasonNothingToLearn] > 0:
		return fmt.Sprintf("; no token has a loss where prompts fill sequence_length %d: raise it, or shorten them; nor where answers "+
			"are empty or masked, "+
			"or a text is of one token: the dead letters say which", d.cfg.SequenceLength)
	}
	return ""
}

// seen shows the first dead letter, and the delimiter that made its fields where one was set.
func (d *driver) seen() string {
	s := "; the first is " + d.first
	if d.cfg.Delimiter != "" {
		s += fmt.Sprintf("; data.delimiter is %q: correct it, or leave it out to have that of the header found", d.cfg.Delimiter)
	}
	return s
}
