package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// rowReader reads the fields of one row. A field that is absent, one that is null and one that is empty are three things: what a field may
// be is said where it is read.
type rowReader struct {
	o     *Options
	obj   map[string]json.RawMessage
	used  map[string]bool // fields of obj that were looked at
	tally *Tally
	row   Row
	texts []string
	what  string // the first thing that is wrong
	// reason is that of the rejection, where it is not ReasonWrongRow.
	reason string
}

// field takes a field by the name that a row kind gives it; raw is empty where it is absent.
func (r *rowReader) field(name string) (column string, raw json.RawMessage) {
	column = r.o.column(name)
	r.used[column] = true
	return column, bytes.TrimSpace(r.obj[column])
}

func (r *rowReader) wrong(format string, a ...any) {
	if r.what == "" {
		r.what = fmt.Sprintf(format, a...)
	}
}

// bad says why a field is not what it should be.
func (r *rowReader) bad(name, reason string) { r.wrong("%s: %s", name, reason) }

// nothing says how a value that is absent is so.
func nothing(raw json.RawMessage) string {
	if len(raw) > 0 {
		return ReasonNullText
	}
	return ReasonMissingText
}

// needed is a text that a row must have; it may be empty.
func (r *rowReader) needed(name string) string {
	column, raw := r.field(name)
	s, reason := jsonString(raw)
	if reason != "" {
		r.bad(column, reason)
	}
	return s
}

// optional is a text that may be absent or null, as if it were empty.
func (r *rowReader) optional(name string) string {
	column, raw := r.field(name)
	if absent(raw) {
		return ""
	}
	s, reason := jsonString(raw)
	if reason != "" {
		r.bad(column, reason)
	}
	return s
}

// absent reports whether a field is not there or null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// list reports whether a value is a list.
func list(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

func (r *rowReader) say(texts ...string) { r.texts = append(r.texts, texts...) }

// answer notes a text to be learnt that is empty: the model learns to say nothing.
func (r *rowReader) answer(s string) {
	if s == "" {
		r.tally.note(NoteEmptyAnswer)
	}
}

// rowOf reads the fields of a kind; a reason of rejection comes with what is wrong with them.
func (o *Options) rowOf(kind string, obj map[string]json.RawMessage, used map[string]bool, tally *Tally) (rec Record, reason, what string) {
	r := &rowReader{o: o, obj: obj, used: used, tally: tally, row: Row{Kind: RowPromptCompletion}, reason: ReasonWrongRow}
	switch {
	case o.Answers != "":
		r.answers(kind)
		kind = ""
	case kind == RowUnpaired && o.RowKind != RowUnpaired:
		return rec, r.reason, UnpairedAdvice
	case kind == RowPreference && o.RowKind != RowPreference:
		return rec, r.reason, PreferenceAdvice
	}
	switch kind {
	case RowPromptCompletion:
		r.promptCompletion("prompt", "completion")
	case RowUnpaired:
		r.label()
		if r.what == "" {
			r.promptCompletion("prompt", "completion")
		}
	case RowPreference:
		r.preference()
	case RowMessages:
		column, raw := r.field("messages")
		r.conversation(column, raw)
	case RowShareGPT:
		r.shareGPT()
	case RowAlpaca:
		r.alpaca()
	case RowTranslation:
		r.translation()
	}
	if r.what != "" {
		return rec, r.reason, r.what
	}
	rec.Text = strings.TrimSpace(strings.Join(slices.DeleteFunc(r.texts, func(s string) bool { return s == "" }), "\n"))
	if rec.Text == "" {
		return rec, r.reason, "no text"
	}
	rec.Row = string(encode(r.row))
	return rec, "", ""
}

// promptCompletion reads a prompt and its completion: two texts or two lists of messages.
func (r *rowReader) promptCompletion(prompt, completion string) {
	pc, p := r.field(prompt)
	cc, c := r.field(completion)
	switch {
	case list(p) && list(c):
		r.row.Prompt, r.row.Completion = r.messages(pc, p), r.messages(cc, c)
		r.variables()
	case list(p) && !absent(c) && c[0] == '"':
		r.wrong("%s and %s: one is a list of messages and the other a text", pc, cc)
	case list(c) && !absent(p) && p[0] == '"':
		r.promptBeside(pc, p, cc, c)
	case list(p) && absent(c):
		r.bad(cc, nothing(c))
	default:
		ps, cs := r.needed(prompt), r.needed(completion)
		r.row.Prompt, r.row.Completion = p, c
		r.say(ps, cs)
		r.answer(cs)
	}
}

// variables reads what a chat template may be given beside messages: tools and chat_template_kwargs, as values or as JSON in a text.
func (r *rowReader) variables() {
	for _, v := range []struct {
		name  string
		begin byte
		want  string
		to    *json.RawMessage
	}{{"tools", '[', "a list of tools", &r.row.Tools}, {"chat_template_kwargs", '{', "an object", &r.row.Kwargs}} {
		column, raw := r.field(v.name)
		if s, reason := jsonString(raw); reason == "" {
			raw = json.RawMessage(strings.TrimSpace(s))
			if len(raw) > 0 && !json.Valid(raw) {
				r.wrong("%s: a text that is not JSON", column)
				return
			}
		}
		switch {
		case absent(raw), string(raw) == "[]", string(raw) == "{}":
		case raw[0] != v.begin:
			r.wrong("%s: want %s", column, v.want)
		default:
			*v.to = raw
		}
	}
}

// conversation reads a list of messages as the whole row.
func (r *rowReader) conversation(column string, raw json.RawMessage) {
	r.row.Kind = RowMessages
	r.row.Messages = r.messages(column, raw)
	r.variables()
}

// preference makes of a row of preferences the row of its preferred completion. The prompt may be within chosen (TRL's implicit prompt),
// also where it stands beside it as a text (UltraFeedback's layout, TRL's maybe_extract_prompt): chosen is a conversation then.
func (r *rowReader) preference() {
	pc, p := r.field("prompt")
	cc, c := r.field("chosen")
	switch {
	case absent(c):
		r.bad(cc, nothing(c))
	case list(c) && absent(p):
		r.conversation(cc, c)
	case len(p) == 0 && !list(c):
		r.bad(pc, ReasonMissingText)
	default:
		r.promptCompletion("prompt", "chosen")
	}
}

// promptBeside reads a completion that is a list of messages beside a prompt that is a text: the whole conversation, which has the prompt,
// or what comes after it.
func (r *rowReader) promptBeside(pc string, p json.RawMessage, cc string, c json.RawMessage) {
	s := r.needed("prompt")
	if asks(c) {
		r.conversation(cc, c)
		if !slices.Contains(r.texts, s) {
			r.used[pc] = s == "" // the conversation has another prompt, which is the one that counts
		}
		return
	}
	type message struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	r.row.Prompt = encode([]message{{"user", p}})
	r.say(s)
	r.row.Completion = r.messages(cc, c)
	r.variables()
}

// asks reports whether a list of messages has one of a user.
func asks(raw json.RawMessage) bool {
	var ms []struct {
		Role any `json:"role"`
	}
	if json.Unmarshal(raw, &ms) != nil {
		return true // the error comes where the messages are read
	}
	for _, m := range ms {
		if m.Role == "user" {
			return true
		}
	}
	return false
}

// label reads the label of a row of unpaired preferences.
func (r *rowReader) label() {
	column, raw := r.field("label")
	switch string(raw) {
	case "true", "1":
	case "false", "0":
		r.what, r.reason = "label: false", ReasonUndesirable
	case "", "null":
		r.bad(column, nothing(raw))
	default:
		r.wrong("%s: %s; want true or false", column, raw[:min(len(raw), 40)])
	}
}

// alpaca reads an instruction with its input, of which one may be empty, and the output. History is a list of pairs, as LLaMA-Factory has
// it.
func (r *rowReader) alpaca() {
	w := &r.row
	w.System, w.Instruction, w.Input = r.optional("system"), r.optional("instruction"), r.optional("input")
	if w.Instruction == "" {
		w.Instruction, w.Input = w.Input, ""
	}
	column, raw := r.field("history")
	if !absent(raw) {
		var pairs [][]json.RawMessage
		if json.Unmarshal(raw, &pairs) != nil {
			r.wrong("%s: want a list of [question, answer]", column)
		}
		for i, p := range pairs {
			if len(p) != 2 {
				r.wrong("%s[%d]: want [question, answer]", column, i)
				break
			}
			var pair [2]string
			for k := range p {
				s, reason := jsonString(bytes.TrimSpace(p[k]))
				if reason != "" {
					r.bad(fmt.Sprintf("%s[%d][%d]", column, i, k), reason)
				}
				pair[k] = s
			}
			w.History = append(w.History, pair)
		}
	}
	r.say(w.System)
	for _, h := range w.History {
		r.say(h[0], h[1])
	}
	name := "output"
	if _, ok := r.obj[r.o.column(name)]; !ok {
		name = "response"
	}
	out := r.needed(name)
	if w.Instruction == "" {
		r.wrong("%s and %s: %s", r.o.column("instruction"), r.o.column("input"), ReasonEmptyText)
	}
	w.Completion = encode(out)
	r.say(w.Instruction, w.Input, out)
	r.answer(out)
}

// translation reads a text in each of two languages, from the row or from its field "translation".
func (r *rowReader) translation() {
	from, to := r.o.Translation[0], r.o.Translation[1]
	obj, used, in := r.obj, r.used, ""
	if raw, ok := obj["translation"]; ok && obj[from] == nil {
		r.used["translation"] = true
		obj, used, in = nil, map[string]bool{}, "translation."
		if absent(bytes.TrimSpace(raw)) || json.Unmarshal(raw, &obj) != nil {
			r.wrong("translation: no object of languages")
			return
		}
	}
	for _, l := range r.o.Translation {
		used[l] = true
		s, reason := jsonString(bytes.TrimSpace(obj[l]))
		if s = strings.TrimSpace(s); reason == "" && s == "" {
			reason = ReasonEmptyText
		}
		if reason != "" {
			r.bad(fmt.Sprintf("%s%s", in, l), reason)
			return
		}
		r.say(s)
	}
	if in != "" {
		r.tally.fields(obj, used, in)
	}
	r.row.Prompt, r.row.Completion = encode(from+": "+r.texts[0]+"\n"+to+":"), encode(" "+r.texts[1])
}
