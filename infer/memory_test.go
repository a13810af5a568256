package infer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// The shape of the model that TestMemoryOfABaseInShards writes: 200 MB, of which a block has 29.
const (
	bigHidden, bigInner, bigLayers = 1024, 4096, 7
	bigHeads, bigKV                = 16, 4
)

// TestMemoryOfABaseInShards quantises a base that lies in shards, merges an adapter into it and continues a text over the codes, each in a
// process of its own, which may take the program, a few matrices, and of codes what they are, and never the base. It is the small form of
// interop/bench/seven.py.
func TestMemoryOfABaseInShards(t *testing.T) {
	const env = "ADAPTFLOW_TEST_MEMORY"
	if step, dir, ok := strings.Cut(os.Getenv(env), " "); ok {
		before := mem.HighWater()
		if err := memorySteps[step](dir); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("took %d\n", mem.HighWater()-before)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("the high-water mark is Linux's")
	}
	if testing.Short() {
		t.Skip("writes a model of 200 MB")
	}
	dir := t.TempDir()
	size := writeBig(t, filepath.Join(dir, "base"))
	for _, c := range []struct {
		step string
		most int64
	}{
		{"quantize", size / 2},
		{"merge", size / 2},
		{"generate", size * 3 / 5},
	} {
		child := exec.Command(os.Args[0], "-test.run=^TestMemoryOfABaseInShards$")
		child.Env = append(os.Environ(), env+"="+c.step+" "+dir)
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.step, err, out)
		}
		_, rest, _ := strings.Cut(string(out), "took ")
		text, _, _ := strings.Cut(rest, "\n")
		took, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.step, err, out)
		}
		t.Logf("%s took %d MB of a base of %d MB", c.step, took/1e6, size/1e6)
		if took > c.most {
			t.Errorf("%s took %d MB of a base of %d MB; %d are allowed", c.step, took/1e6, size/1e6, c.most/1e6)
		}
	}
}

// memorySteps are what a process of its own does in the test's folder.
var memorySteps = map[string]func(dir string) error{
	"quantize": func(dir string) error {
		return Quantize(filepath.Join(dir, "base"), filepath.Join(dir, "codes"), "nf4", true)
	},
	"merge": func(dir string) error {
		return Merge(filepath.Join(dir, "base"), filepath.Join(dir, "adapter"), filepath.Join(dir, "merged"), "", 1)
	},
	"generate": func(dir string) error {
		m, err := Load(filepath.Join(dir, "codes"), "bfloat16", filepath.Join(dir, "adapter"))
		if err != nil {
			return err
		}
		defer m.Close()
		_, err = m.Generate("The open() system call", evaluate.Sampling{MaxNewTokens: 4}, nil)
		return err
	},
}

// writeBig writes a Mistral of random bfloat16 weights, a shard a block, and an adapter of it.
func writeBig(t *testing.T, base string) (size int64) {
	t.Helper()
	embedded, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(base, os.DirFS(embedded)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(base, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	old := golden.JSON[map[string]any](t, filepath.Join(base, "config.json"))
	vocab := int(old["vocab_size"].(float64))
	config := map[string]any{"architectures": []string{"MistralForCausalLM"}, "model_type": "mistral", "hidden_size": bigHidden,
		"intermediate_size": bigInner, "num_hidden_layers": bigLayers, "num_attention_heads": bigHeads, "num_key_value_heads": bigKV,
		"vocab_size": vocab, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "hidden_act": "silu",
		"sliding_window": nil, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "eos_token_id": old["eos_token_id"],
		"bos_token_id": old["bos_token_id"]}
	writeJSON(t, filepath.Join(base, "config.json"), config)

	shards := [][]bigTensor{{{"model.embed_tokens.weight", []int{vocab, bigHidden}}, {"model.norm.weight", []int{bigHidden}}}}
	const kv = bigHidden / bigHeads * bigKV
	for i := range bigLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		shards = append(shards, []bigTensor{{p + "input_layernorm.weight", []int{bigHidden}},
			{p + "post_attention_layernorm.weight", []int{bigHidden}}, {p + "self_attn.q_proj.weight", []int{bigHidden, bigHidden}},
			{p + "self_attn.k_proj.weight", []int{kv, bigHidden}}, {p + "self_attn.v_proj.weight", []int{kv, bigHidden}},
			{p + "self_attn.o_proj.weight", []int{bigHidden, bigHidden}}, {p + "mlp.gate_proj.weight", []int{bigInner, bigHidden}},
			{p + "mlp.up_proj.weight", []int{bigInner, bigHidden}}, {p + "mlp.down_proj.weight", []int{bigHidden, bigInner}}})
	}
	index := map[string]string{}
	for i, s := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		size += writeBigShard(t, filepath.Join(base, name), s)
		for _, x := range s {
			index[x.name] = name
		}
	}
	writeJSON(t, filepath.Join(base, "model.safetensors.index.json"), map[string]any{"metadata": map[string]any{"total_size": size},
		"weight_map": index})
	saveFresh(t, base, filepath.Join(filepath.Dir(base), "adapter"))
	return size
}

type bigTensor struct {
	name  string
	shape []int
}

// writeBigShard writes random values of a magnitude of about 2⁻⁶, the same megabyte again and again.
func writeBigShard(t *testing.T, path string, tensors []bigTensor) (at int64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := 0; i < len(noise); i += 2 {
		binary.LittleEndian.PutUint16(noise[i:], uint16(0x3c80+r.IntN(128))|uint16(r.IntN(2))<<15)
	}
	header := map[string]any{}
	for _, x := range tensors {
		n := int64(2)
		for _, d := range x.shape {
			n *= int64(d)
		}
		header[x.name] = map[string]any{"dtype": "BF16", "shape": x.shape, "data_offsets": []int64{at, at + n}}
		at += n
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(b []byte) {
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(binary.LittleEndian.AppendUint64(nil, uint64(len(head))))
	write(head)
	for left := at; left > 0; left -= int64(len(noise)) {
		write(noise[:min(left, int64(len(noise)))])
	}
	return at
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}
