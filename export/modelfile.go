package export

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// WriteModelfile writes Ollama's Modelfile: the model, the adapter where adapter is not empty, the chat template, and the tokens that end
// an answer. A chat template that Ollama's can say nothing of is left out, with a comment: Ollama then looks for one that it knows in the
// GGUF file's own.
func WriteModelfile(path, from, adapter string, c ggufChat) error {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM %s\n", local(from))
	if adapter != "" {
		fmt.Fprintf(&b, "ADAPTER %s\n", local(adapter))
	}
	if t, ok := c.templates["default"]; ok {
		if text, err := ollamaTemplate(t); err == nil && !strings.Contains(text, `"""`) {
			fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", text)
		} else {
			fmt.Fprintf(&b, "# The chat template has no equal in Ollama's language: %v.\n", oneLine(err))
		}
	}
	for _, s := range c.stops {
		fmt.Fprintf(&b, "PARAMETER stop %s\n", strconv.Quote(s))
	}
	return storage.WriteShared(path, []byte(b.String()))
}

func oneLine(err error) string {
	if err == nil {
		return "it has three quotes in a row"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// local names a file beside the Modelfile as Ollama wants it.
func local(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "./" + path
}

// The texts that stand for what is said in a conversation.
const (
	systemMark    = "§sys§"
	userMark      = "§usr§"
	assistantMark = "§ast§"
)

// said is a message of a conversation.
type said struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// probes are the conversations that a translation must render as the template does.
var probes = [][]said{
	{{"user", userMark}},
	{{"system", systemMark}, {"user", userMark}},
	{{"user", userMark}, {"assistant", assistantMark}, {"user", "another " + userMark}},
	{{"system", systemMark}, {"user", userMark}, {"assistant", assistantMark}, {"user", "x"}, {"assistant", "y"}, {"user", "z"}},
}

// ollamaTemplate translates a chat template to Ollama's language, Go's text/template over .Messages: what a template puts before and behind
// messages of each role is found by rendering, and the translation is kept where it renders conversations as the template does.
func ollamaTemplate(t *chat.Template) (string, error) {
	render := func(ms []said, generate bool) (string, error) {
		raw, err := json.Marshal(ms)
		if err != nil {
			return "", err
		}
		r, err := t.Render(chat.Conversation{Messages: raw}, chat.Options{AddGenerationPrompt: generate})
		if err != nil {
			return "", err
		}
		return r.Text, nil
	}
	around := func(text, mark string) (before, after string, ok bool) { return strings.Cut(text, mark) }
	one, err := render(probes[0], false)
	if err != nil {
		return "", err
	}
	prompt, err := render(probes[0], true)
	if err != nil {
		return "", err
	}
	u0, u1, ok := around(one, userMark)
	ask, begins := strings.CutPrefix(prompt, one)
	if !ok || !begins {
		return "", fmt.Errorf("a message of the user does not stay as it is")
	}
	two, err := render([]said{{"user", userMark}, {"assistant", assistantMark}}, false)
	if err != nil {
		return "", err
	}
	rest, begins := strings.CutPrefix(two, one)
	a0, a1, ok := around(rest, assistantMark)
	if !ok || !begins {
		return "", fmt.Errorf("what is before an answer depends on it")
	}
	// A user's message later on has no beginning of the text before it.
	three, err := render([]said{{"user", userMark}, {"assistant", assistantMark}, {"user", userMark}}, false)
	if err != nil {
		return "", err
	}
	later, begins := strings.CutPrefix(three, two)
	l0, l1, ok := around(later, userMark)
	if !ok || !begins || l1 != u1 || !strings.HasSuffix(u0, l0) {
		return "", fmt.Errorf("messages of the user differ by their place")
	}
	first := strings.TrimSuffix(u0, l0) // the beginning of a text, or a system message that the template has by itself
	var s0, s1 string
	system := true
	if text, err := render(probes[1], false); err != nil {
		system = false // it knows none
	} else if s0, s1, ok = around(text, systemMark); ok {
		s1, ok = strings.CutSuffix(s1, l0+userMark+u1)
		if !ok {
			return "", fmt.Errorf("a system message changes what follows it")
		}
	} else {
		return "", fmt.Errorf("a system message does not stay as it is")
	}
	translated := goTemplate(system, first, [2]string{s0, s1}, [2]string{l0, l1}, [2]string{a0, a1}, ask)
	for _, p := range probes {
		if p[0].Role == "system" && !system {
			continue
		}
		want, err := render(p, true)
		if err != nil {
			return "", err
		}
		if got, err := renderOllama(translated, p); err != nil || got != want {
			return "", fmt.Errorf("translated it renders %q as %q, %v, where the template gives %q", p, got, err, want)
		}
	}
	return translated, nil
}

// goTemplate writes the translation.
func goTemplate(system bool, first string, s, u, a [2]string, ask string) string {
	var b strings.Builder
	text := func(t string) {
		if t != "" {
			b.WriteString("{{ " + strconv.Quote(t) + " }}")
		}
	}
	message := func(role string, at [2]string) {
		b.WriteString("{{ if eq .Role \"" + role + "\" }}")
		text(at[0])
		b.WriteString("{{ .Content }}")
		text(at[1])
		b.WriteString("{{ end }}")
	}
	b.WriteString("{{- range $i, $_ := .Messages }}")
	if system {
		if first != "" {
			b.WriteString("{{ if and (eq $i 0) (ne .Role \"system\") }}")
			text(first)
			b.WriteString("{{ end }}")
		}
		message("system", s)
	} else if first != "" {
		b.WriteString("{{ if eq $i 0 }}")
		text(first)
		b.WriteString("{{ end }}")
	}
	message("user", u)
	message("assistant", a)
	b.WriteString("{{ end }}")
	text(ask)
	return b.String()
}

// renderOllama renders messages as Ollama does.
func renderOllama(text string, ms []said) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{"Messages": ms})
	return b.String(), err
}
