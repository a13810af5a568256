// Package tokenize turns text into token ids and back, reading Hugging Face
// `tokenizer.json` files.
//
// Two engines stand behind one interface. The default, [Fast], is written here:
// it gives the ids, offsets and decoded text of Hugging Face `tokenizers` for
// BPE, WordPiece, Unigram and WordLevel vocabularies, and refuses a file that asks for anything it does not
// implement, naming the component or field. The second wraps
// github.com/sugarme/tokenizer, for comparison.
package tokenize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Encoding is one tokenized text; the slices have one entry a token.
type Encoding struct {
	// IDs are the token ids.
	IDs []int32
	// Offsets are the places in the text, in Unicode code points, end
	// exclusive. Tokens added by the post-processor have {0, 0}.
	Offsets [][2]int32
	// SpecialMask is 1 for tokens added by the post-processor, 0 for tokens of
	// the text (special tokens written out in the text included, as in HF).
	SpecialMask []uint8
}

// Tokenizer encodes and decodes text. Implementations may be used from several
// goroutines at once.
type Tokenizer interface {
	// Encode returns ids, offsets and the mask of special tokens; addSpecial
	// adds the post-processor's tokens (<s> and the like). Text that is not
	// valid UTF-8 is an error.
	Encode(text string, addSpecial bool) (*Encoding, error)
	// AppendIDs appends the ids alone to dst and returns it; it is the fast way.
	AppendIDs(dst []int32, text string, addSpecial bool) ([]int32, error)
	// Decode returns the text of ids; skipSpecial leaves out special tokens.
	// Ids outside the vocabulary are left out, as HF does.
	Decode(ids []int32, skipSpecial bool) string
	// VocabSize is the largest id plus one, added tokens included.
	VocabSize() int
	// TokenToID looks a token up by its spelling in tokenizer.json.
	TokenToID(token string) (int32, bool)
	// IDToToken is the spelling of an id in tokenizer.json.
	IDToToken(id int32) (string, bool)
	// Hash is the SHA-256 of the tokenizer.json bytes, in hexadecimal.
	Hash() string
	// Special returns the ids of the special tokens that the folder's
	// configuration names, -1 where it names none.
	Special() (bos, eos, pad, unk int32)
	// Around returns the tokens that Encode with addSpecial puts before and
	// after a text. They are not to be changed.
	Around() (before, after []int32)
}

// Engine names for LoadEngine and LoadFS.
const (
	EngineFast    = "fast"
	EngineSugarme = "sugarme"
)

// Engine is the engine that a recipe's name for it means: "exact" is EngineFast.
func Engine(name string) string {
	if name == "exact" {
		return EngineFast
	}
	return name
}

// Load reads the tokenizer of a Hugging Face model folder with the fast engine:
// tokenizer.json, and the special tokens named in tokenizer_config.json,
// special_tokens_map.json and config.json where these exist.
func Load(dir string) (Tokenizer, error) { return LoadEngine(dir, EngineFast) }

// LoadEngine is Load with a choice of engine: EngineFast (also "") or
// EngineSugarme.
func LoadEngine(dir, engine string) (Tokenizer, error) { return load(dir, engine, false) }

// LoadBefore is LoadEngine as version 0.1 loaded a folder, for output folders that it began: tokens that stand in other files than
// tokenizer.json are not read, the tokenizer's class changes nothing, and config.json's ids count where the other files say null.
func LoadBefore(dir, engine string) (Tokenizer, error) { return load(dir, engine, true) }

func load(dir, engine string, before bool) (Tokenizer, error) {
	if st, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("tokenize: %s is not a folder; give the model folder that holds tokenizer.json", dir)
	}
	t, err := loadFS(os.DirFS(dir), ".", engine, before)
	if err != nil {
		return nil, fmt.Errorf("tokenize: folder %s: %w", dir, err)
	}
	return t, nil
}

// LoadFile reads one tokenizer.json with the fast engine. No special tokens are
// named, as those stand in other files.
func LoadFile(name string) (*Fast, error) {
	data, err := storage.ReadSmall(name, storage.KindTokenizer)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %s: %w", filepath.Clean(name), err)
	}
	return f, nil
}

// LoadFS is LoadEngine on a folder of a file system.
func LoadFS(fsys fs.FS, dir, engine string) (Tokenizer, error) {
	return loadFS(fsys, dir, engine, false)
}

func loadFS(fsys fs.FS, dir, engine string, before bool) (Tokenizer, error) {
	if engine != EngineFast && engine != "" && engine != EngineSugarme {
		return nil, fmt.Errorf("unknown tokenizer engine %q; the engines are %q and %q", engine, EngineFast, EngineSugarme)
	}
	data, err := storage.ReadSmallFS(fsys, path.Join(dir, "tokenizer.json"), storage.KindTokenizer)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(fsys, dir)
	}
	if err != nil {
		return nil, err
	}
	if engine == EngineSugarme && before {
		s, err := newSugarme(data)
		if err != nil {
			return nil, fmt.Errorf("tokenizer.json: %w", err)
		}
		s.special, err = readSpecialBefore(fsys, dir, s)
		return s, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if before {
		f.special, err = readSpecialBefore(fsys, dir, f)
		return f, err
	}
	if err := f.adopt(fsys, dir); err != nil || engine != EngineSugarme {
		return f, err
	}
	s, err := sugarmeOf(data, f)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return s, nil
}

// missing explains a folder without tokenizer.json.
func missing(fsys fs.FS, dir string) error {
	const how = `make one with transformers: AutoTokenizer.from_pretrained(DIR, use_fast=True).save_pretrained(DIR)`
	for _, n := range []string{"tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"} {
		if _, err := fs.Stat(fsys, path.Join(dir, n)); err == nil {
			return fmt.Errorf("no tokenizer.json, only %s; %s", n, how)
		}
	}
	return fmt.Errorf("no tokenizer.json; give a Hugging Face model folder, or %s", how)
}
