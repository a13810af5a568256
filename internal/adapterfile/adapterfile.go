// Package adapterfile opens the tensors of an adapter folder under the names that HF PEFT's save_pretrained gives them, however the file
// came to be: in shards, from a compiled or wrapped model, or with the adapter's name in the keys.
package adapterfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Tensors is the file of PEFT's folders.
const Tensors = "adapter_model.safetensors"

// TokenizerFiles are the files of a tokenizer in a model's folder, and in that of an adapter whose training changed it.
var TokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
	"vocab.json", "merges.txt",
	"tokenizer.model", "added_tokens.json"}

// CopyTokenizer copies the tokenizer's files of the folder from, where it has any, to the folder to.
func CopyTokenizer(to, from string) error {
	for _, name := range TokenizerFiles {
		if err := CopySmall(to, from, name); err != nil {
			return err
		}
	}
	return nil
}

// CopySmall copies a file of the folder from, where it is there, to the folder to.
func CopySmall(to, from, name string) error {
	raw, err := storage.ReadSmall(storage.Join(from, name), storage.KindTokenizer)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return storage.WriteShared(storage.Join(to, name), raw)
}

// BaseParts are what stands between a module's name and its weight's in an adapter's folder where the tensor is the base's, by what wraps
// the module. The bare name comes last: where a module is wrapped, it is that of a trained copy.
var BaseParts = []string{".original_module", ".base_layer", ".token_adapter.base_layer", ""}

// Prefix begins the names of a wrapped model's tensors. Of a method of virtual tokens, whose file has [PromptTensor], it is "base_model."
// there, since such a method does not wrap the model's layers; the names are given as those of the others.
const Prefix = "base_model.model."

// PromptTensor is the tensor of virtual tokens.
const PromptTensor = "prompt_embeddings"

// InFile is the name in the file of a base model's tensor.
func InFile(name string, prompts bool) string {
	if prompts {
		return "base_model." + strings.TrimPrefix(name, Prefix)
	}
	return name
}

// Files are the files that hold the tensors of the folder dir: the one called name, or its shards
// ("adapter_model-00001-of-00002.safetensors"), which transformers writes of an adapter larger than max_shard_size. The file itself is
// named where there is neither.
func Files(dir, name string) ([]string, error) {
	one := storage.Join(dir, name)
	if ok, err := storage.Exists(one); err != nil || ok || !storage.IsLocal(dir) {
		return []string{one}, err
	}
	stem, ext := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name)
	shards, err := filepath.Glob(filepath.Join(storage.Local(dir), stem+"-*-of-*"+ext))
	if err != nil || len(shards) == 0 {
		return []string{one}, err
	}
	slices.Sort(shards)
	var number, of int
	for i, s := range shards {
		if n, err := fmt.Sscanf(strings.TrimPrefix(filepath.Base(s), stem), "-%d-of-%d", &number, &of); n != 2 || err != nil ||
			number != i+1 || of != len(shards) {
			return nil, fmt.Errorf("%s: %d shards of %s are there, and %s is not number %d of as many: copy the whole folder", dir,
				len(shards), name, filepath.Base(s), i+1)
		}
	}
	return shards, nil
}

// Open opens the tensors of the folder dir, which [Files] finds, under PEFT's names.
func Open(dir, name string) (*safetensors.Folder, error) {
	paths, err := Files(dir, name)
	if err != nil {
		return nil, err
	}
	if name != Tensors { // another library's
		return safetensors.OpenFiles(paths, nil)
	}
	return safetensors.OpenFiles(paths, rename)
}

// wrappers are parts of a name that torch.compile, FSDP, activation checkpointing and data parallelism add to it, and the name of PEFT's
// adapter, which save_pretrained leaves out and a state dict that was saved by hand has.
var wrappers = []string{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "default"}

// rename gives the names of all tensors of a file PEFT's form.
func rename(names []string) map[string]string {
	out, bare := map[string]string{}, true
	prompts := slices.Contains(names, PromptTensor)
	for _, n := range names {
		out[n] = canonical(n)
		if rest, ok := strings.CutPrefix(out[n], "base_model."); ok && prompts {
			out[n] = Prefix + rest
		}
		bare = bare && !strings.HasPrefix(out[n], Prefix)
	}
	if !bare || !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, ".lora_") }) {
		return out
	}
	for n, c := range out { // the base model's own names, without the wrapper's
		out[n] = Prefix + c
	}
	return out
}

func canonical(name string) string {
	parts := strings.Split(strings.TrimPrefix(name, "module."), ".")
	parts = slices.DeleteFunc(parts, func(p string) bool { return slices.Contains(wrappers, p) })
	name = strings.Join(parts, ".")
	for strings.HasPrefix(name, Prefix+Prefix) {
		name = strings.TrimPrefix(name, Prefix)
	}
	return name
}
