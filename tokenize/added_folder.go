package tokenize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// adopt makes the tokenizer what transformers makes of the folder: with the tokens that other files than tokenizer.json give, the
// post-processor of its class, and the ids of the special tokens.
func (f *Fast) adopt(fsys fs.FS, dir string) error {
	fo, err := readFolder(fsys, dir)
	if err != nil {
		return err
	}
	changed, err := f.addTokens(fo)
	if err != nil {
		return err
	}
	if f.special, err = fo.ids(f); err != nil {
		return err
	}
	if p := f.loneByteLevel(); p != nil && fo.prefix != nil && p.prefix != *fo.prefix {
		p.prefix = *fo.prefix
		changed = append(changed, [2]any{prefixKey, p.prefix})
	}
	if len(changed) > 0 { // other ids than those of tokenizer.json alone
		raw, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(append([]byte(f.hash), raw...))
		f.hash = hex.EncodeToString(sum[:])
	}
	return f.frame(fo)
}

// loneByteLevel is a ByteLevel that is all of the pre-tokenizer: of a Sequence transformers changes nothing.
func (f *Fast) loneByteLevel() *preStep {
	if len(f.pre) == 1 && f.pre[0].kind == preByteLevel && f.pre[0].lone {
		return &f.pre[0]
	}
	return nil
}

// addTokens adds the tokens that the folder gives beside tokenizer.json as transformers' fast tokenizers do: those of added_tokens_decoder
// by id, then special ones. A token that is in tokenizer.json keeps its id and is looked for as the other file says; a new one has the next
// id. What is new is returned for the tokenizer's hash.
func (f *Fast) addTokens(fo *folder) (changed [][2]any, err error) {
	list, err := f.toAdd(fo)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	next := int32(len(f.vocab))
	for i, t := range f.added {
		at[t.content] = i
		next = max(next, t.id+1)
	}
	for _, t := range list {
		if t.content == "" {
			continue
		}
		if i, ok := at[t.content]; ok {
			if err := t.conflict(f.added[i].id, "tokenizer.json"); err != nil {
				return nil, err
			}
			t.id = f.added[i].id
			t.special = t.special || f.added[i].special
			if f.added[i] != t.addedToken {
				f.added[i] = t.addedToken
				changed = append(changed, [2]any{t.id, fmt.Sprintf("%+v", t.addedToken)})
			}
			continue
		}
		id, known := f.vocab[t.content]
		if !known {
			id = next
			next++
		}
		where := "model.vocab of tokenizer.json"
		if !known {
			where = "the first free one after tokenizer.json"
		}
		if err := t.conflict(id, where); err != nil {
			return nil, err
		}
		if !known && (strings.HasSuffix(t.from, ": bos_token") || strings.HasSuffix(t.from, ": eos_token")) &&
			!named(fo.additional, t.content) {
			return nil, fmt.Errorf("%s is %q, which tokenizer.json does not have; correct the name or add the token to tokenizer.json",
				t.from, t.content)
		}
		if t.id = id; !known && (t.from == "" || fo.idle(t.content, id)) {
			continue // no text has it: it is not a word of the model's
		}
		at[t.content] = len(f.added)
		f.added = append(f.added, t.addedToken)
		changed = append(changed, [2]any{t.id, fmt.Sprintf("%+v", t.addedToken)})
	}
	n := len(f.added)
	f.added = slices.DeleteFunc(f.added, func(t addedToken) bool {
		_, known := f.vocab[t.content]
		return !known && fo.idle(t.content, t.id)
	})
	if len(changed) > 0 || len(f.added) < n {
		err = f.index()
	}
	return changed, err
}

// toAdd lists the tokens that the folder gives beside tokenizer.json, in the order in which they are added.
func (f *Fast) toAdd(fo *folder) ([]tokenSpec, error) {
	specials := fo.specials()
	list := slices.Clone(fo.declared)
	for i := range list {
		list[i].special = list[i].special || named(specials, list[i].content)
	}
	for _, s := range specials {
		_, have := f.addedIDs[s.content]
		if named(list, s.content) || have && !s.flag {
			continue
		}
		if s.flag && have && !fo.decoded { // added_tokens of tokenizer.json goes before
			continue
		}
		list = append(list, s)
	}
	for _, t := range list {
		if len(t.content) > maxAddedBytes {
			return nil, fmt.Errorf("an added token of %d bytes, more than %d", len(t.content), maxAddedBytes)
		}
	}
	return list, nil
}

// conflict says that a token would have another id than the file that declares it says.
func (t tokenSpec) conflict(id int32, where string) error {
	if t.from != addedName && t.from != configName+": "+decoderKey || t.id == id {
		return nil
	}
	return fmt.Errorf("token %q has id %d in %s and id %d in %s: correct one of them", t.content, t.id, t.from, id, where)
}

// idle says that the model has no row for a token which only fills up, masks or separates: padding that is added to a tokenizer and not to
// its model is never used.
func (f *folder) idle(content string, id int32) bool {
	if f.vocab == 0 || int(id) < f.vocab || named(f.additional, content) {
		return false
	}
	idle := false
	for _, role := range roles {
		if f.role(role) == content {
			if role == "bos_token" || role == "eos_token" {
				return false
			}
			idle = true
		}
	}
	return idle
}

// ids finds the ids of the special tokens: those that the files name, then those of the class, then those of config.json where the files
// say nothing.
func (f *folder) ids(t Tokenizer) (specialIDs, error) {
	out := noSpecial
	for i, key := range specialKeys {
		if s := f.role(key); s != "" {
			if id, ok := t.TokenToID(s); ok {
				out[i] = id
			}
		}
	}
	return out, configIDs(f.model, t, &out, func(i int) bool { return !f.null[specialKeys[i]] })
}

// frame puts the class's post-processor in place of the file's, where it has one.
func (f *Fast) frame(fo *folder) error {
	if fo.class == nil || !fo.class.template {
		return nil
	}
	want := [2]bool{fo.class.addBOS, fo.class.addEOS}
	var ids [2][]int32
	for i, said := range []*bool{fo.addBOS, fo.addEOS} {
		if said != nil {
			want[i] = *said
		}
		switch {
		case !want[i]:
		case f.special[i] >= 0:
			ids[i] = []int32{f.special[i]}
		case said != nil:
			return fmt.Errorf("%s: add_%s is true and there is no %s: set it to false, or name the token", configName,
				specialKeys[i], specialKeys[i])
		case !fo.null[specialKeys[i]]: // the class's token is none of the vocabulary's: the file is another class's
			return nil
		}
	}
	f.post = postProcessor{before: ids[0], after: ids[1]}
	return nil
}
