package datasets

import (
	"encoding/json"
	"fmt"
	"strings"
)

// RewriteRow applies do to every text of a row and returns the row and its texts, one after another.
func RewriteRow(row string, do func(string) string) (string, string, error) {
	var r Row
	if err := json.Unmarshal([]byte(row), &r); err != nil {
		return "", "", fmt.Errorf("row: %w", err)
	}
	var texts []string
	one := func(s string) string {
		if s == "" {
			return s
		}
		s = do(s)
		if s != "" {
			texts = append(texts, s)
		}
		return s
	}
	r.System = one(r.System)
	for i := range r.History {
		r.History[i] = [2]string{one(r.History[i][0]), one(r.History[i][1])}
	}
	r.Instruction, r.Input = one(r.Instruction), one(r.Input)
	for _, f := range []*json.RawMessage{&r.Prompt, &r.Completion, &r.Rejected, &r.Messages} {
		var err error
		if *f, err = rewriteField(*f, one); err != nil {
			return "", "", fmt.Errorf("row: %w", err)
		}
	}
	return string(encode(r)), strings.Join(texts, "\n"), nil
}

// rewriteField rewrites a text, or the texts of a list of messages: their contents, or the texts of the parts of these.
func rewriteField(raw json.RawMessage, one func(string) string) (json.RawMessage, error) {
	if len(raw) == 0 {
		return raw, nil
	}
	if s, reason := jsonString(raw); reason == "" {
		return encode(one(s)), nil
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	for _, m := range list {
		content := m["content"]
		if s, reason := jsonString(content); reason == "" {
			m["content"] = encode(one(s))
			continue
		}
		var parts []map[string]json.RawMessage
		if json.Unmarshal(content, &parts) != nil || len(parts) == 0 {
			continue
		}
		for _, p := range parts {
			if s, reason := jsonString(p["text"]); reason == "" {
				p["text"] = encode(one(s))
			}
		}
		m["content"] = encode(parts)
	}
	return encode(list), nil
}
