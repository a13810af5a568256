package datasets

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// Reasons of rows that nothing is learnt from where answers are compared.
const (
	ReasonEqualAnswers = "equal_answers"   // chosen and rejected are the same
	ReasonNoAnswer     = "empty_answer"    // an answer is empty
	ReasonLongPrompt   = "prompt_too_long" // no token of an answer is left of max_length
)

// AnswersAdvice says which rows are learnt from where answers are compared.
const AnswersAdvice = "rows of preferences are wanted: prompt, chosen and rejected, or, of an objective over single answers, prompt, " +
	"completion and label; name their fields with columns, as {chosen: better, rejected: worse}"

// answers reads a row for an objective over pairs of answers, or over answers with a label: of pairs each answer is one. It gives the row's
// kind.
func (r *rowReader) answers(kind string) {
	r.row.Kind = r.o.Answers
	switch {
	case r.o.Answers == KindPrompt:
		r.prompt()
		return
	case kind == RowPreference:
		r.pair()
	case kind == RowUnpaired && r.o.Answers == KindUnpaired:
		column, raw := r.field("label")
		good := string(raw) == "true" || string(raw) == "1"
		if !good && string(raw) != "false" && string(raw) != "0" {
			r.wrong("%s: %s; want true or false", column, raw[:min(len(raw), 40)])
			return
		}
		r.row.Desirable = &good
		r.promptCompletion("prompt", "completion")
		r.row.Kind = r.o.Answers
	default:
		r.wrong("%s", AnswersAdvice)
	}
	if r.what == "" {
		r.compare()
	}
}

// PromptAdvice says which rows answers are sampled to.
const PromptAdvice = "rows with a prompt are wanted, a text or a list of messages, and where answers are compared with right ones a " +
	"completion, solution or answer, a text; name their fields with columns, as {prompt: question, completion: answer}"

// prompt reads a prompt, and what a right answer would be where the row has one.
func (r *rowReader) prompt() {
	pc, p := r.field("prompt")
	var right string
	for _, name := range []string{"completion", "solution", "answer"} {
		if name != "completion" && right != "" {
			break
		}
		right = r.optional(name)
	}
	switch {
	case r.what != "":
	case absent(p):
		r.wrong("%s: %s; %s", pc, nothing(p), PromptAdvice)
	case list(p):
		r.row.Prompt = r.messages(pc, p)
		r.row.Completion = encode([]map[string]string{{"role": "assistant", "content": right}})
		r.variables()
	default:
		s, reason := jsonString(p)
		if reason != "" || s == "" {
			r.wrong("%s: it is empty, or no text; %s", pc, PromptAdvice)
			return
		}
		r.row.Prompt, r.row.Completion = p, encode(right)
		r.say(s)
	}
}

// pair reads a prompt, which may be within the answers (TRL's implicit prompt), and two answers: three texts, or three lists of messages.
func (r *rowReader) pair() {
	pc, p := r.field("prompt")
	cc, c := r.field("chosen")
	rc, j := r.field("rejected")
	for name, raw := range map[string]json.RawMessage{cc: c, rc: j} {
		if absent(raw) {
			r.bad(name, nothing(raw))
			return
		}
	}
	chat := list(c)
	switch {
	case list(j) != chat || !absent(p) && list(p) != chat:
		r.wrong("%s, %s and %s: some are lists of messages and some are texts", pc, cc, rc)
		return
	case absent(p) && chat:
		p, c, j = sharedMessages(c, j)
	case absent(p):
		p, c, j = r.sharedText(cc, c, rc, j)
	}
	r.margin()
	if r.what != "" {
		return
	}
	if chat {
		r.row.Prompt, r.row.Completion, r.row.Rejected = r.messages(pc, p), r.messages(cc, c), r.messages(rc, j)
		r.variables()
		return
	}
	for i, x := range []struct {
		name string
		raw  json.RawMessage
		to   *json.RawMessage
	}{{pc, p, &r.row.Prompt}, {cc, c, &r.row.Completion}, {rc, j, &r.row.Rejected}} {
		s, reason := jsonString(x.raw)
		if reason != "" {
			r.bad(x.name, reason)
			return
		}
		if *x.to = x.raw; i < 2 || s != "" {
			r.say(s)
		}
	}
}

// margin reads by how much the chosen answer is better, where the row says so.
func (r *rowReader) margin() {
	column, raw := r.field("margin")
	if absent(raw) {
		return
	}
	var m float64
	if err := json.Unmarshal(raw, &m); err != nil || float64(float32(m))-m != 0 && math.Abs(m) > math.MaxFloat32 {
		r.wrong("%s: %s; want a number", column, raw[:min(len(raw), 40)])
		return
	}
	r.row.Margin = &m
}

// sharedText is the prompt that two texts begin with, as TRL's extract_prompt finds it, and the rest of both: to their first difference,
// and without a space before it (TRL 1.16, of texts that differ from the start, looks at the last character instead). Of texts of which
// one begins the other, the last character that they share goes to the answers.
func (r *rowReader) sharedText(cc string, c json.RawMessage, rc string, j json.RawMessage) (p, chosen, rejected json.RawMessage) {
	a, why := jsonString(c)
	b, why2 := jsonString(j)
	switch {
	case why != "":
		r.bad(cc, why)
	case why2 != "":
		r.bad(rc, why2)
	}
	if r.what != "" {
		return nil, c, j
	}
	x, y := []rune(a), []rune(b)
	n, differ := sharedLength(len(x), len(y), func(i int) bool { return x[i] == y[i] })
	if differ && n > 0 && x[n-1] == ' ' {
		n--
	}
	return encode(string(x[:n])), encode(string(x[n:])), encode(string(y[n:]))
}

// sharedMessages is sharedText of lists of messages.
func sharedMessages(c, j json.RawMessage) (p, chosen, rejected json.RawMessage) {
	var x, y []json.RawMessage
	if json.Unmarshal(c, &x) != nil || json.Unmarshal(j, &y) != nil {
		return json.RawMessage("[]"), c, j // the error comes where the messages are read
	}
	n, _ := sharedLength(len(x), len(y), func(i int) bool { return sameJSON(x[i], y[i]) })
	return encode(x[:n:n]), encode(x[n:]), encode(y[n:])
}

// sharedLength is how much two lists begin with alike, and whether they differ where that ends; where one begins the other, their last
// common element is left to both.
func sharedLength(a, b int, same func(i int) bool) (n int, differ bool) {
	least := min(a, b)
	for n < least && same(n) {
		n++
	}
	if n == least {
		return max(0, least-1), false
	}
	return n, true
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(encode(x), encode(y))
}

// compare refuses answers of which nothing can be learnt.
func (r *rowReader) compare() {
	for _, x := range []json.RawMessage{r.row.Completion, r.row.Rejected} {
		if s, reason := jsonString(x); len(x) > 0 && (reason == "" && strings.TrimSpace(s) == "" || string(x) == "[]") {
			r.what, r.reason = "an answer is empty", ReasonNoAnswer
			return
		}
	}
	if len(r.row.Rejected) > 0 && sameJSON(r.row.Completion, r.row.Rejected) {
		r.what, r.reason = "chosen and rejected are equal", ReasonEqualAnswers
	}
}
