package peft

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// folderFormat is the layout of an adapter folder that another library than HF PEFT reads. A method that has one gives it by its format
// method.
type folderFormat struct {
	library string // name on the hub
	version string // that is followed
	tensors string // the tensors' file
	pickle  string // the library's other file, which is refused
	use     string // Python that loads the folder, with %s for the base model's name
}

// hub is the format of AdapterHub's library `adapters`.
var hub = &folderFormat{library: "adapters", version: "1.3.0", tensors: "adapter.safetensors", pickle: "pytorch_adapter.bin",
	use: "import adapters\nfrom transformers import AutoModelForCausalLM\n\n" +
		"model = AutoModelForCausalLM.from_pretrained(%s)\nadapters.init(model)\n" +
		"model.load_adapter(\"path/to/this/folder\", set_active=True, use_safetensors=True)"}

// hubClasses are transformers' classes of causal language models by model_type, which AdapterHub's configuration names.
var hubClasses = map[string]string{"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
	"qwen2": "Qwen2ForCausalLM",
	"qwen3": "Qwen3ForCausalLM", "gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM", "gemma3_text": "Gemma3ForCausalLM",
	"gpt_neox": "GPTNeoXForCausalLM", "phi": "PhiForCausalLM", "phi3": "Phi3ForCausalLM", "opt": "OPTForCausalLM"}

// formatted is a method whose folder has another library's format.
type formatted interface {
	format() *folderFormat
	// encoded is the text of adapter_config.json.
	encoded() []byte
}

// formatOf is the format of a method's folder, nil for HF PEFT's.
func formatOf(m Method) *folderFormat {
	if f, ok := m.(formatted); ok {
		return f.format()
	}
	return nil
}

// tensorFile is the name of the tensors' file in the folder of a method.
func tensorFile(m Method) string {
	if f := formatOf(m); f != nil {
		return f.tensors
	}
	return TensorFile
}

// tensorName is the name of the tensors' file in the folder dir: adapter_model.safetensors, or what AdapterHub calls it where dir has that.
func tensorName(dir string) string {
	if ok, err := storage.Exists(storage.Join(dir, hub.tensors)); err == nil && ok {
		return hub.tensors
	}
	return TensorFile
}

// openTensors opens the tensors of the adapter folder dir.
func openTensors(dir string) (*safetensors.Folder, error) {
	return adapterfile.Open(dir, tensorName(dir))
}

// TensorPath is the file with the tensors of the adapter folder dir, where that is one.
func TensorPath(dir string) string { return storage.Join(dir, tensorName(dir)) }

// TensorPaths are the files with the tensors of the adapter folder dir, of which there are several where it is in shards.
func TensorPaths(dir string) ([]string, error) { return adapterfile.Files(dir, tensorName(dir)) }

// TensorSum is the SHA-256 of the tensors of the adapter folder dir, in hexadecimal.
func TensorSum(dir string) (string, error) {
	paths, err := TensorPaths(dir)
	if err != nil {
		return "", err
	}
	if len(paths) == 1 {
		return storage.SHA256File(paths[0])
	}
	h := sha256.New()
	for _, p := range paths {
		sum, err := storage.SHA256File(p)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (m *bottleneck) format() *folderFormat { return hub }

// encoded implements formatted.
func (m *bottleneck) encoded() []byte {
	fields := map[string]any{}
	targets := map[string]reflect.Value{}
	collect(reflect.ValueOf(&m.cfg.BnFields).Elem(), targets)
	for k, v := range targets {
		fields[k] = v.Interface()
	}
	c := &m.cfg
	return encode(map[string]any{"config": fields, "hidden_size": c.HiddenSize, "model_class": c.ModelClass, "model_name": c.BaseModel,
		"model_type": c.ModelType,
		"name":       c.Name, "version": hub.library + "." + hub.version}, "  ")
}

// hubConfig turns AdapterHub's adapter_config.json into a configuration of BOTTLENECK; ok says whether raw is one of AdapterHub's at all.
func hubConfig(raw []byte) (flat []byte, ok bool, err error) {
	var c struct {
		Config  map[string]json.RawMessage `json:"config"`
		Version string                     `json:"version"`
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &c) != nil || json.Unmarshal(raw, &all) != nil || c.Config == nil {
		return nil, false, nil
	}
	if !strings.HasPrefix(c.Version, hub.library+".") {
		return nil, true, fmt.Errorf("version %q: only folders of the library `adapters` are read; load and save it there once", c.Version)
	}
	if a := string(c.Config["architecture"]); a != "" && a != "null" {
		return nil, true, fmt.Errorf("config.architecture is %s; only bottleneck adapters are read from AdapterHub's format", a)
	}
	delete(c.Config, "architecture")
	out := map[string]any{"peft_type": "BOTTLENECK", "config": "bn"}
	for k, v := range c.Config {
		out[k] = v
	}
	for k, v := range all {
		switch k {
		case "config", "version":
		case "model_name":
			out["base_model_name_or_path"] = v
		default:
			out[k] = v
		}
	}
	flat, err = json.Marshal(out)
	return flat, true, err
}
