package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// TestPublishedConfigs reads the configurations of published models and compares with the sizes and the number of
// weights that their cards state.
func TestPublishedConfigs(t *testing.T) {
	for _, c := range []struct {
		name                                                    string
		layers, hidden, heads, kv, dim, inner, vocab, positions int
		tied                                                    bool
		params                                                  int64
	}{
		{"SmolLM2-135M", 30, 576, 9, 3, 64, 1536, 49152, 8192, true, 134515008},
		{"TinyLlama-1.1B-Chat-v1.0", 22, 2048, 32, 4, 64, 5632, 32000, 2048, false, 1100048384},
		{"Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128256, 131072, true, 1235814400},
		{"Qwen2.5-0.5B", 24, 896, 14, 2, 64, 4864, 151936, 32768, true, 494032768},
		{"pythia-70m", 6, 512, 8, 8, 64, 2048, 50304, 2048, false, 70426624},
		{"Qwen3-0.6B", 28, 1024, 16, 8, 128, 3072, 151936, 40960, true, 596049920},
		{"Mistral-7B-v0.1", 32, 4096, 32, 8, 128, 14336, 32000, 32768, false, 7241732096},
		{"gemma-2b", 18, 2048, 8, 1, 256, 16384, 256000, 8192, true, 2506172416},
		{"gemma-2-2b", 26, 2304, 8, 4, 256, 9216, 256000, 8192, true, 2614341888},
		{"gemma-3-1b-it", 26, 1152, 4, 1, 256, 6912, 262144, 32768, true, 999885952},
		{"gpt2", 12, 768, 12, 12, 64, 3072, 50257, 1024, true, 124439808},
		{"opt-125m", 12, 768, 12, 12, 64, 3072, 50272, 2048, true, 125239296},
		{"opt-350m", 24, 1024, 16, 16, 64, 4096, 50272, 2048, true, 331196416},
		{"phi-2", 32, 2560, 32, 32, 80, 10240, 51200, 2048, false, 2779683840},
		{"Phi-3-mini-4k-instruct", 32, 3072, 32, 32, 96, 8192, 32064, 4096, false, 3821079552},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "configs", c.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			got, n, err := model.Describe(raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []struct {
				what      string
				got, want int
			}{{"layers", got.Layers, c.layers}, {"hidden", got.Hidden, c.hidden}, {"heads", got.Heads, c.heads},
				{"key/value heads", got.KVHeads, c.kv},
				{"head size", got.HeadDim, c.dim}, {"intermediate", got.Intermediate, c.inner}, {"vocabulary", got.Vocab, c.vocab},
				{"positions", got.MaxPositions, c.positions}} {
				if v.got != v.want {
					t.Errorf("%s %d, want %d", v.what, v.got, v.want)
				}
			}
			if got.Tied != c.tied || n != c.params {
				t.Errorf("%d weights, tied %v; want %d, %v", n, got.Tied, c.params, c.tied)
			}
		})
	}
}

func TestBadConfigs(t *testing.T) {
	gemma2 := `{"architectures":["Gemma2ForCausalLM"],"vocab_size":64,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"intermediate_size":48%s}`
	llama := strings.Replace(gemma2, "Gemma2", "Llama", 1)
	for _, c := range []struct{ raw, more, want string }{
		{llama, `,"partial_rotary_factor":0.1`, "partial_rotary_factor"},
		{llama, `,"rope_scaling":{"rope_type":"proportional","factor":4}`, `"proportional"`},
		{llama, `,"rope_scaling":{"type":"longrope","short_factor":[1,1],"long_factor":[1,1,1,1]}`, "short_factor has 2 values"},
		{llama, `,"hidden_act":"mish"`, "hidden_act"},
		{llama, `,"num_key_value_heads":3`, "share 3 key/value heads"},
		{gemma2, `,"layer_types":["sliding_attention"]`, "layer_types has 1 entries"},
		{gemma2, `,"layer_types":["sliding_attention","chunked_attention"]`, "chunked_attention"},
		{gemma2, `,"use_bidirectional_attention":true`, "use_bidirectional_attention"},
		{gemma2, `,"query_pre_attn_scalar":0`, "query_pre_attn_scalar"},
		{strings.Replace(gemma2, "Gemma2", "Mamba", 1), ``, "MambaForCausalLM"},
	} {
		_, _, err := model.Describe([]byte(strings.Replace(c.raw, "%s", c.more, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", c.more, err, c.want)
		}
	}
}

// TestHashIsSharedAndCloseFrees asks for the hash from several goroutines, under the race detector where that is on.
func TestHashIsSharedAndCloseFrees(t *testing.T) {
	m, err := model.Load(filepath.Join("testdata", "models", "llama_gqa"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	got := make([]string, 4)
	for i := range got {
		wg.Go(func() { got[i], _ = m.Hash() })
	}
	wg.Wait()
	for _, h := range got {
		if len(h) != 64 || h != got[0] {
			t.Errorf("hashes %q", got)
		}
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a closed model was wired")
		}
	}()
	nn.Sites(m)
}

// TestFusedModulesKeepTheirNames: what all-linear and target_modules see are transformers' modules, the fused ones whole.
func TestFusedModulesKeepTheirNames(t *testing.T) {
	for name, want := range map[string][]string{
		"models/gpt2":           {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"},
		"models/gptneox":        {"attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
		"variants/phi3_partial": {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"},
		"variants/opt_plain":    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"},
		"variants/phi_gqa":      {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense", "mlp.fc1", "mlp.fc2"},
	} {
		m, err := model.Load(filepath.Join("testdata", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, s := range nn.Sites(m) {
			if s.Kind == nn.KindLinear && s.Layer == 0 {
				_, module, _ := strings.Cut(s.Name, ".0.")
				got[module] = true
				if l := s.Op.(*nn.Linear); l.Transposed != (name == "models/gpt2") {
					t.Errorf("%s: %s is transposed: %v", name, s.Name, l.Transposed)
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s has the linear modules %v, want %v", name, got, want)
		}
		for _, w := range want {
			if !got[w] {
				t.Errorf("%s has no linear module %s", name, w)
			}
		}
		m.Close()
	}
}
