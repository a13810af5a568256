package tokenize

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// readSpecialBefore finds the special tokens as version 0.1 did, for output folders that it began: tokenizer_config.json, then
// special_tokens_map.json, then the ids of config.json, also where the others say null.
func readSpecialBefore(fsys fs.FS, dir string, t Tokenizer) (specialIDs, error) {
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
			s, err := parseToken(raw, name, key)
			if err != nil {
				return out, err
			}
			id, ok := t.TokenToID(s.content)
			if !ok {
				return out, fmt.Errorf("%s: %s is %q, which tokenizer.json does not have", name, key, s.content)
			}
			out[i] = id
		}
	}
	model, err := storage.ReadObject(fsys, path.Join(dir, "config.json"))
	if err != nil {
		return out, err
	}
	return out, configIDs(model, t, &out, func(int) bool { return true })
}

// configIDs fills in ids of config.json that are not found yet.
func configIDs(model map[string]json.RawMessage, t Tokenizer, out *specialIDs, may func(i int) bool) error {
	for i, key := range specialKeys {
		raw, ok := model[key+"_id"]
		if !ok || out[i] >= 0 || string(raw) == "null" || !may(i) {
			continue
		}
		var id int32
		if json.Unmarshal(raw, &id) != nil {
			var list []int32
			if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
				return fmt.Errorf("config.json: %s_id is neither a number nor a list of numbers", key)
			}
			id = list[0]
		}
		if _, ok := t.IDToToken(id); ok {
			out[i] = id
		}
	}
	return nil
}
