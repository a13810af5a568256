package peft

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
)

// The files of an adapter folder.
const (
	ConfigFile = "adapter_config.json"
	TensorFile = adapterfile.Tensors
	CardFile   = "README.md"
	pickleFile = "adapter_model.bin"
	modelFile  = "config.json"
)

// Open reads an adapter folder in HF's format and attaches it to the sites. A missing, extra or mis-shaped tensor, a value
// that is not finite, and a base embedding that is not this model's are errors naming the tensor.
func Open(dir string, sites []nn.Site, env Env) (*Adapter, error) {
	raw, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	var head struct {
		PeftType string  `json:"peft_type"`
		Base     *string `json:"base_model_name_or_path"`
	}
	if flat, ok, err := hubConfig(raw); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", storage.Join(dir, ConfigFile), err)
	} else if ok {
		raw = flat
	}
	if err := decodeHead(dir, raw, &head); err != nil {
		return nil, err
	}
	if head.PeftType == "" {
		return nil, fmt.Errorf("peft: %s names no peft_type: it is the method's name, such as \"LORA\"", storage.Join(dir, ConfigFile))
	}
	a, err := build(head.PeftType, raw, sites, env, shapesOf(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", dir, err, madeFor(head.Base, env))
	}
	a.dir = dir
	if r, ok := a.Method.(interface{ reopen() error }); ok {
		if err := r.reopen(); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := a.read(dir); err != nil {
		return nil, fmt.Errorf("%w%s", err, madeFor(head.Base, env))
	}
	return a, nil
}

// Ignored names the fields of the configuration in dir that opening it passes over, in their order: what a later version of PEFT added and
// the adapter does not use, and what changes nothing of a trained adapter. A folder that cannot be opened has none here.
func Ignored(dir string) []string {
	raw, err := readConfig(dir)
	if err != nil {
		return nil
	}
	if flat, ok, err := hubConfig(raw); err == nil && ok {
		raw = flat
	}
	var head struct {
		PeftType string `json:"peft_type"`
	}
	if json.Unmarshal(raw, &head) != nil {
		return nil
	}
	row, err := find(head.PeftType)
	if err != nil {
		return nil
	}
	m := row.New()
	ignored, _ := decodeConfig(row.Type, raw, m.Config(), unusedOf(m), true)
	return ignored
}

// readConfig reads the configuration of an adapter folder, and says what is wrong with one that has none.
func readConfig(dir string) ([]byte, error) {
	raw, err := storage.ReadSmall(storage.Join(dir, ConfigFile), storage.KindConfig)
	if err == nil {
		return raw, nil
	}
	kind := "has no " + ConfigFile
	if storage.IsLocal(dir) {
		switch info, err := os.Stat(storage.Local(dir)); {
		case errors.Is(err, os.ErrNotExist):
			kind = "does not exist"
		case err == nil && !info.IsDir():
			kind = "is a file"
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("peft: %w", err)
	}
	return nil, &noFolder{fmt.Sprintf("peft: %s %s; an adapter is a folder with %s and %s, as a run's %s", dir, kind, ConfigFile,
		TensorFile, "adapter/"), err}
}

// BaseOf reads the base model that the adapter in dir names; "" where it names none.
func BaseOf(dir string) (string, error) {
	raw, err := readConfig(dir)
	if err != nil {
		return "", err
	}
	var head struct {
		Base *string `json:"base_model_name_or_path"`
	}
	if err := decodeHead(dir, raw, &head); err != nil || head.Base == nil {
		return "", err
	}
	return *head.Base, nil
}

// noFolder is the error of a folder that is not an adapter's. Its words need none of the cause's.
type noFolder struct {
	words string
	cause error
}

func (e *noFolder) Error() string { return e.words }
func (e *noFolder) Unwrap() error { return e.cause }

// decodeHead reads the fields of a configuration that v has.
func decodeHead(dir string, raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("peft: %s: field %s is a %s; want %s", storage.Join(dir, ConfigFile), kind.Field, kind.Value,
			typeWords(kind.Type, false))
	case errors.As(err, &kind):
		return fmt.Errorf("peft: %s is a JSON %s; an adapter's configuration is an object", storage.Join(dir, ConfigFile), kind.Value)
	}
	return fmt.Errorf("peft: %s is not JSON, or cut off: %w", storage.Join(dir, ConfigFile), err)
}

// madeFor is a hint for errors: the base that the adapter names, when it is not this one.
func madeFor(base *string, env Env) string {
	if base == nil || env.BaseModel == "" || *base == env.BaseModel {
		return ""
	}
	return fmt.Sprintf(" (the adapter was made for base model %q, this one is %q)", *base, env.BaseModel)
}
