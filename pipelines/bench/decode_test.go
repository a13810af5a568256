package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDecode: the figures of a tiny shape are there and fit together.
func TestDecode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":128,
		"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":300,"max_position_embeddings":64,
		"rms_norm_eps":1e-5,"hidden_act":"silu","tie_word_embeddings":false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := DecodeConfig{ConfigPath: path, DType: "fp32+nf4", Streams: 3, PromptTokens: 5, Tokens: 4, Rank: 2, Threads: 1, Runs: 2}
	r, err := Decode(c)
	if err != nil {
		t.Fatal(err)
	}
	// The head in float32, and 2 layers of 4 bits with a scale of 64 values; panels that these shapes do not fill take less than as much.
	head := int64(4 * 64 * 336)
	if linear := int64(2 * (64*64*2 + 64*32*2 + 3*64*128)); r.WeightBytes < head+linear/2 || r.WeightBytes > head+linear {
		t.Errorf("%d bytes of weights a step", r.WeightBytes)
	}
	if len(r.StepSeconds) != 2 || r.TokensPerSecond <= 0 || r.TokensPerCPUSecond <= 0 || r.PromptPerSecond <= 0 || r.AdapterValues == 0 ||
		r.Bandwidth < 1e7 || r.ReadBytes <= 0 {
		t.Errorf("%+v", r)
	}
	c.Tokens = 60
	if _, err := Decode(c); err == nil {
		t.Error("more tokens than positions")
	}
}
