package tokenize

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sort"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// specialIDs are bos, eos, pad and unk, -1 where absent.
type specialIDs [4]int32

var noSpecial = specialIDs{-1, -1, -1, -1}

var specialKeys = [4]string{"bos_token", "eos_token", "pad_token", "unk_token"}

// roles are the special tokens in the order in which transformers adds those that are new.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

const (
	configName = "tokenizer_config.json"
	mapName    = "special_tokens_map.json"
	addedName  = "added_tokens.json"
	decoderKey = "added_tokens_decoder"
	prefixKey  = "add_prefix_space"
)

// tokenSpec is a token as a folder's files give it.
type tokenSpec struct {
	addedToken
	from string // what gives it, for errors
	flag bool   // it says how it is looked for
}

// folder is what the files of a model folder beside tokenizer.json say about its tokenizer, read as transformers 4.57 reads them.
type folder struct {
	class      *tokenizerClass
	special    map[string]tokenSpec // by role
	null       map[string]bool      // roles that are named as null
	additional []tokenSpec          // additional_special_tokens and extra_special_tokens, in order
	declared   []tokenSpec          // added_tokens_decoder or added_tokens.json, by id
	decoded    bool                 // there is an added_tokens_decoder
	addBOS     *bool
	addEOS     *bool
	prefix     *bool                      // add_prefix_space; nil: nothing changes
	model      map[string]json.RawMessage // config.json
	vocab      int                        // its vocab_size, 0 where it has none
}

// readFolder reads tokenizer_config.json; where that has no added_tokens_decoder also special_tokens_map.json, which goes before it, and
// added_tokens.json; and what the tokenizer's class brings along.
func readFolder(fsys fs.FS, dir string) (*folder, error) {
	config, err := storage.ReadObject(fsys, path.Join(dir, configName))
	if err != nil {
		return nil, err
	}
	model, err := storage.ReadObject(fsys, path.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	f := &folder{special: map[string]tokenSpec{}, null: map[string]bool{}, class: classOf(config, model), model: model}
	_ = json.Unmarshal(model["vocab_size"], &f.vocab) // package model complains of another kind
	if config != nil || model != nil {                // otherwise there is a tokenizer.json alone, which the tokenizers library opens
		f.prefix = f.class.Prefix()
	}
	if raw, ok := config[prefixKey]; ok && string(raw) == "null" {
		f.prefix = nil
	}
	for key, to := range map[string]**bool{"add_bos_token": &f.addBOS, "add_eos_token": &f.addEOS, prefixKey: &f.prefix} {
		if raw, ok := config[key]; ok && string(raw) != "null" {
			if err := json.Unmarshal(raw, to); err != nil {
				return nil, fmt.Errorf("%s: %s is neither true nor false", configName, key)
			}
		}
	}
	if err := f.names(config, configName); err != nil {
		return nil, err
	}
	added, err := storage.ReadObject(fsys, path.Join(dir, addedName))
	if err != nil {
		return nil, err
	}
	if raw, ok := config[decoderKey]; ok && string(raw) != "null" {
		f.decoded = true
		return f, f.decoder(raw, added)
	}
	m, err := storage.ReadObject(fsys, path.Join(dir, mapName))
	if err != nil {
		return nil, err
	}
	if err := f.names(m, mapName); err != nil {
		return nil, err
	}
	return f, f.added(added)
}

// names reads the special tokens of one file.
func (f *folder) names(m map[string]json.RawMessage, file string) error {
	for _, role := range roles {
		raw, ok := m[role]
		if !ok {
			continue
		}
		delete(f.special, role)
		if f.null[role] = string(raw) == "null"; f.null[role] {
			continue
		}
		s, err := parseToken(raw, file, role)
		if err != nil {
			return err
		}
		f.special[role] = s
	}
	for _, key := range []string{"additional_special_tokens", "extra_special_tokens"} {
		raw := bytes.TrimSpace(m[key])
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var list []json.RawMessage
		if raw[0] == '{' { // names of a model's own
			pairs, err := orderedPairs(raw)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", file, key, err)
			}
			for _, p := range pairs {
				list = append(list, p.value)
			}
		} else if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("%s: %s is neither a list nor an object of tokens", file, key)
		}
		for _, raw := range list {
			s, err := parseToken(raw, file, key)
			if err != nil {
				return err
			}
			if !named(f.additional, s.content) {
				f.additional = append(f.additional, s)
			}
		}
	}
	return nil
}

type namedValue struct {
	name  string
	value json.RawMessage
}

// orderedPairs reads an object in the order of the file.
func orderedPairs(raw []byte) (out []namedValue, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		p := namedValue{name: fmt.Sprint(k)}
		if err := d.Decode(&p.value); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// parseToken reads a token that is a text, or an object with content and how it is looked for.
func parseToken(raw json.RawMessage, file, key string) (tokenSpec, error) {
	t := tokenSpec{from: file + ": " + key}
	if json.Unmarshal(raw, &t.content) == nil && string(raw) != "null" {
		t.special = true
		return t, nil
	}
	var o struct {
		Content    *string `json:"content"`
		SingleWord bool    `json:"single_word"`
		LStrip     bool    `json:"lstrip"`
		RStrip     bool    `json:"rstrip"`
		Normalized *bool   `json:"normalized"`
		Special    bool    `json:"special"`
	}
	if err := json.Unmarshal(raw, &o); err != nil || o.Content == nil {
		return t, fmt.Errorf("%s: %s is neither a string nor an object with content", file, key)
	}
	t.addedToken = addedToken{content: *o.Content, single: o.SingleWord, lstrip: o.LStrip, rstrip: o.RStrip,
		special: o.Special || key != decoderKey}
	t.flag, t.normalized = true, !t.special
	if o.Normalized != nil {
		t.normalized = *o.Normalized
	}
	return t, nil
}

// decoder reads added_tokens_decoder, beside which transformers does not look at added_tokens.json; where the two give a token different
// ids one is wrong.
func (f *folder) decoder(raw json.RawMessage, added map[string]json.RawMessage) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%s: %s is not an object of tokens by id", configName, decoderKey)
	}
	for _, key := range slices.Sorted(maps.Keys(m)) { // of several faults always the same one is reported
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 || id >= maxVocab {
			return fmt.Errorf("%s: %s: %q is not an id of a token", configName, decoderKey, key)
		}
		t, err := parseToken(m[key], configName, decoderKey)
		if err != nil || !t.flag {
			return fmt.Errorf("%s: %s: the token of id %d is not an object with content", configName, decoderKey, id)
		}
		t.id = int32(id)
		var other int32
		if raw, ok := added[t.content]; ok && json.Unmarshal(raw, &other) == nil && other != t.id {
			return fmt.Errorf("token %q has id %d in %s (%s) and id %d in %s: correct one of them", t.content, t.id, configName,
				decoderKey, other, addedName)
		}
		f.declared = append(f.declared, t)
	}
	f.byID()
	return nil
}

// added reads added_tokens.json.
func (f *folder) added(m map[string]json.RawMessage) error {
	specials := f.specials()
	for _, content := range slices.Sorted(maps.Keys(m)) {
		raw := m[content]
		t := tokenSpec{addedToken: addedToken{content: content, special: named(specials, content)}, from: addedName, flag: true}
		if err := json.Unmarshal(raw, &t.id); err != nil || t.id < 0 || t.id >= maxVocab {
			return fmt.Errorf("%s: the id of %q is %s", addedName, content, raw)
		}
		t.normalized = !t.special
		f.declared = append(f.declared, t)
	}
	f.byID()
	return nil
}

func (f *folder) byID() {
	sort.Slice(f.declared, func(i, j int) bool { // as slices.SortFunc, whose copy for so large a type takes 30 KB of the program
		a, b := &f.declared[i], &f.declared[j]
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.content, b.content)) < 0
	})
}

// named reports whether a token is among those of a list.
func named(list []tokenSpec, content string) bool {
	return slices.ContainsFunc(list, func(t tokenSpec) bool { return t.content == content })
}

// specials are the special tokens in the order in which transformers adds those that are new; those that the class brings along have no
// from.
func (f *folder) specials() []tokenSpec {
	var out []tokenSpec
	for _, role := range roles {
		if s, ok := f.special[role]; ok {
			out = append(out, s)
		} else if d := f.class.Special(role); d != "" && !f.null[role] {
			out = append(out, tokenSpec{addedToken: addedToken{content: d, special: true}})
		}
	}
	return append(out, f.additional...)
}

// role is the content of a special token, that of the class where no file names it; "" where there is none.
func (f *folder) role(name string) string {
	if s, ok := f.special[name]; ok {
		return s.content
	}
	if f.null[name] {
		return ""
	}
	return f.class.Special(name)
}

// SpecialTokens are the special tokens of a model folder by name (bos_token, …), those that the tokenizer's class brings along among them,
// as a chat template may name them.
func SpecialTokens(fsys fs.FS, dir string) (map[string]string, error) {
	f, err := readFolder(fsys, dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, role := range roles {
		if s := f.role(role); s != "" {
			out[role] = s
		}
	}
	return out, nil
}
