package serve

import (
	"encoding/json"
	"errors"
	"fmt"
)

// prompts are texts, or ids: OpenAI's string, list of strings, list of ids, or list of lists of ids.
type prompts struct {
	texts []string
	ids   [][]int32
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *prompts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil && raw[0] == '"' {
		p.texts = []string{one}
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		if string(raw) == "null" {
			return nil
		}
		return errors.New("it must be a text, a list of texts, token ids, or a list of lists of token ids")
	}
	if len(list) == 0 {
		return errors.New("it is empty")
	}
	var ids []int32
	for i, e := range list {
		kind := byte('1')
		if e[0] == '"' || e[0] == '[' {
			kind = e[0]
		}
		if first := list[0][0]; i > 0 && (first == '"' || first == '[' || kind != '1') && first != kind {
			return errors.New("it mixes texts and token ids")
		}
		switch kind {
		case '"':
			var s string
			if err := json.Unmarshal(e, &s); err != nil {
				return err
			}
			p.texts = append(p.texts, s)
		case '[':
			l, err := tokens(e)
			if err != nil {
				return err
			}
			p.ids = append(p.ids, l)
		default:
			var id *int32
			if err := json.Unmarshal(e, &id); err != nil || id == nil {
				return fmt.Errorf("element %d is not a token id", i)
			}
			ids = append(ids, *id)
		}
	}
	if ids != nil {
		p.ids = [][]int32{ids}
	}
	return nil
}

// tokens reads a list of token ids.
func tokens(raw []byte) ([]int32, error) {
	var list []*int32
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("a list of token ids holds something else")
	}
	out := make([]int32, len(list))
	for i, id := range list {
		if id == nil {
			return nil, errors.New("a list of token ids holds null")
		}
		out[i] = *id
	}
	return out, nil
}

func (p *prompts) len() int { return max(len(p.texts), len(p.ids)) }

// texts are one text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one *string
	if json.Unmarshal(raw, &one) == nil {
		if *t = nil; one != nil {
			*t = texts{*one}
		}
		return nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil {
		return errors.New("it must be a text or a list of texts")
	}
	*t = nil
	for _, s := range list {
		if s == nil {
			return errors.New("it holds null")
		}
		*t = append(*t, *s)
	}
	return nil
}
