package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Learning says of a turn of a conversation whether it is learnt, where the turn itself says it.
type Learning int8

// What a turn may say.
const (
	LearnAsSet Learning = iota // nothing: the settings decide
	LearnNever
	LearnAlways
)

// learningFields are the fields of a turn that say whether it is learnt: OpenAI's and mistral-finetune's weight and ms-swift's loss, which
// take turns of the assistant out, and axolotl's train and training, which also put others in.
var learningFields = []struct {
	name string
	any  bool // true is for turns of anybody
}{{"weight", false}, {"loss", false}, {"train", true}, {"training", true}}

// LearningOf reads what a turn says, and what is wrong with it.
func LearningOf(m map[string]json.RawMessage) (l Learning, what string) {
	for _, f := range learningFields {
		raw := bytes.TrimSpace(m[f.name])
		if absent(raw) {
			continue
		}
		switch string(raw) {
		case "0", "0.0", "false":
			l = LearnNever
		case "1", "1.0", "true":
			if f.any && l == LearnAsSet {
				l = LearnAlways
			}
		default:
			return l, fmt.Sprintf("%s: %s; a turn is learnt (1) or not (0)", f.name, raw[:min(len(raw), 40)])
		}
	}
	if raw := bytes.TrimSpace(m["train_detail"]); !absent(raw) && string(raw) != "[]" {
		return l, "train_detail: parts of a turn cannot be chosen, a turn is learnt or not (train)"
	}
	return l, ""
}

// messages checks a list of messages and returns it as it stands. A content may be null, or absent, where the assistant calls tools.
func (r *rowReader) messages(name string, raw json.RawMessage) json.RawMessage {
	ms := r.turns(name, raw)
	said := len(r.texts)
	for i, m := range ms {
		at := fmt.Sprintf("%s[%d]", name, i)
		role := r.role(at+".role", m["role"])
		if m["role"] == nil {
			r.wrong("%s: no role", at)
		}
		calls := bytes.TrimSpace(m["tool_calls"])
		if !absent(calls) && !list(calls) {
			r.wrong("%s.tool_calls: no list", at)
		}
		calling := list(calls) && string(calls) != "[]" || !absent(bytes.TrimSpace(m["function_call"]))
		r.content(at+".content", m["content"], calling)
		if role == "assistant" && !calling && len(r.texts) > said && r.texts[len(r.texts)-1] == "" {
			r.answer("")
		}
		r.extras(name, at, m, "role", "content", "tool_calls")
		if r.what != "" {
			return nil
		}
	}
	return raw
}

// extras reads what a turn says of learning and counts its further fields, which a chat template may know or not.
func (r *rowReader) extras(name, at string, m map[string]json.RawMessage, known ...string) {
	if _, what := LearningOf(m); what != "" {
		r.wrong("%s.%s", at, what)
	}
	used := map[string]bool{"train_detail": true}
	for _, k := range known {
		used[k] = true
	}
	for _, f := range learningFields {
		used[f.name] = true
	}
	r.tally.fields(m, used, name+"[].")
}

// turns takes a list of objects apart.
func (r *rowReader) turns(name string, raw json.RawMessage) (ms []map[string]json.RawMessage) {
	switch {
	case len(raw) == 0:
		r.bad(name, ReasonMissingText)
	case string(raw) == "null":
		r.bad(name, ReasonNullText)
	case json.Unmarshal(raw, &ms) != nil:
		r.wrong("%s: no list of messages", name)
	case len(ms) == 0:
		r.wrong("%s: an empty list of messages", name)
	}
	for i, m := range ms {
		if m == nil {
			r.bad(fmt.Sprintf("%s[%d]", name, i), ReasonNullText)
		}
	}
	return ms
}

func (r *rowReader) role(name string, raw json.RawMessage) string {
	s, reason := jsonString(bytes.TrimSpace(raw))
	if reason == "" && s == "" {
		reason = ReasonEmptyText
	}
	if reason != "" && len(raw) > 0 {
		r.bad(name, reason)
	}
	return s
}

// content reads the content of a message: a text, or a list of parts that are texts.
func (r *rowReader) content(name string, raw json.RawMessage, calling bool) {
	raw = bytes.TrimSpace(raw)
	if absent(raw) && calling {
		return
	}
	if !list(raw) {
		s, reason := jsonString(raw)
		if reason != "" {
			r.bad(name, reason)
		}
		r.say(s)
		return
	}
	var parts []json.RawMessage
	if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 && !calling {
		r.wrong("%s: an empty list of parts", name)
	}
	for k, raw := range parts {
		if s, reason := jsonString(raw); reason == "" {
			r.say(s)
			continue
		}
		var p map[string]json.RawMessage
		if json.Unmarshal(raw, &p) != nil || p == nil {
			r.wrong("%s[%d]: no part of a message", name, k)
			return
		}
		if kind, reason := jsonString(p["type"]); reason == "" && kind != "text" {
			r.wrong("%s[%d]: a part of type %q; texts alone are learnt", name, k, kind)
			return
		}
		s, reason := jsonString(p["text"])
		if reason != "" {
			r.bad(fmt.Sprintf("%s[%d].text", name, k), reason)
		}
		r.say(s)
	}
}

// speakers are the roles of those who speak in ShareGPT's conversations.
var speakers = map[string]string{"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
	"bing": "assistant", "bard": "assistant", "model": "assistant",
	"system": "system", "tool": "tool", "function_response": "tool", "observation": "tool"}

// shareGPT reads turns of from and value, or role and content, and the row's own system and tools.
func (r *rowReader) shareGPT() {
	r.row.Kind = RowMessages
	type message struct {
		Role     string          `json:"role"`
		Content  string          `json:"content"`
		Weight   json.RawMessage `json:"weight,omitempty"`
		Loss     json.RawMessage `json:"loss,omitempty"`
		Train    json.RawMessage `json:"train,omitempty"`
		Training json.RawMessage `json:"training,omitempty"`
	}
	var ms []message
	system := r.optional("system")
	if system != "" {
		ms = append(ms, message{Role: "system", Content: system})
		r.say(system)
	}
	name, raw := r.field("conversations")
	for i, t := range r.turns(name, raw) {
		at := fmt.Sprintf("%s[%d]", name, i)
		who, what := "from", "value"
		if absent(bytes.TrimSpace(t[who])) && t["role"] != nil {
			who = "role"
		}
		if t[what] == nil && t["content"] != nil {
			what = "content"
		}
		speaker, reason := jsonString(bytes.TrimSpace(t[who]))
		if reason != "" {
			r.bad(fmt.Sprintf("%s.%s", at, who), reason)
			return
		}
		role, ok := speakers[strings.ToLower(speaker)]
		if !ok {
			r.wrong("%s: nobody is called %q", at, speaker)
			return
		}
		s, reason := jsonString(bytes.TrimSpace(t[what]))
		if reason != "" {
			r.bad(fmt.Sprintf("%s.%s", at, what), reason)
			return
		}
		if role == "system" && i == 0 && system != "" {
			if s != system {
				r.wrong("%s and %s: two system texts that differ", r.o.column("system"), at)
			}
			continue
		}
		if role == "assistant" {
			r.answer(s)
		}
		r.say(s)
		r.extras(name, at, t, who, what)
		ms = append(ms, message{role, s, t["weight"], t["loss"], t["train"], t["training"]})
	}
	r.row.Messages = encode(ms)
	r.variables()
}
