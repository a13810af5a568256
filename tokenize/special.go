package tokenize

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// specialIDs are bos, eos, pad and unk, -1 where absent.
type specialIDs [4]int32

var noSpecial = specialIDs{-1, -1, -1, -1}

var specialKeys = [4]string{"bos_token", "eos_token", "pad_token", "unk_token"}

// readSpecial finds the special tokens a folder names: tokenizer_config.json,
// then special_tokens_map.json, then the ids of config.json.
func readSpecial(fsys fs.FS, dir string, t Tokenizer) (specialIDs, error) {
	out := noSpecial
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		m, err := storage.ReadObject(fsys, path.Join(dir, name))
		if err != nil {
			return out, err
		}
		for i, key := range specialKeys {
			raw, ok := m[key]
			if !ok || out[i] >= 0 || string(raw) == "null" {
				continue
			}
			var s string
			if json.Unmarshal(raw, &s) != nil {
				var o struct {
					Content *string `json:"content"`
				}
				if err := json.Unmarshal(raw, &o); err != nil || o.Content == nil {
					return out, fmt.Errorf("%s: %s is neither a string nor an object with content", name, key)
				}
				s = *o.Content
			}
			id, ok := t.TokenToID(s)
			if !ok {
				return out, fmt.Errorf("%s: %s is %q, which tokenizer.json does not have; correct the name or add the token to tokenizer.json", name, key, s)
			}
			out[i] = id
		}
	}
	m, err := storage.ReadObject(fsys, path.Join(dir, "config.json"))
	if err != nil {
		return out, err
	}
	for i, key := range specialKeys {
		raw, ok := m[key+"_id"]
		if !ok || out[i] >= 0 || string(raw) == "null" {
			continue
		}
		var id int32
		if json.Unmarshal(raw, &id) != nil {
			var list []int32
			if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
				return out, fmt.Errorf("config.json: %s_id is neither a number nor a list of numbers", key)
			}
			id = list[0]
		}
		if _, ok := t.IDToToken(id); ok {
			out[i] = id
		}
	}
	return out, nil
}
