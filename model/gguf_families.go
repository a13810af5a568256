package model

// The forms of the families. Modules and keys that Llama's kin share are in decoderNames and decoderKeys.

// layer begins the name of a module of a layer in Llama's kin.
const layer = "model.layers.N."

// decoderNames are the modules of Llama's layout with the order of q's and k's rows, what norms have more, and the family's own modules.
func decoderNames(qk func(h ggufHeads, r int) int, norms float32, own ...ggufName) []ggufName {
	return append([]ggufName{
		{hf: "model.embed_tokens", gguf: "token_embd"},
		{hf: "model.norm", gguf: "output_norm", add: norms},
		{hf: "lm_head", gguf: "output"},
		{hf: layer + "input_layernorm", gguf: "blk.N.attn_norm", add: norms},
		{hf: layer + "self_attn.q_proj", gguf: "blk.N.attn_q", rows: qk, part: 1},
		{hf: layer + "self_attn.k_proj", gguf: "blk.N.attn_k", rows: qk, part: 2},
		{hf: layer + "self_attn.v_proj", gguf: "blk.N.attn_v", part: 3},
		{hf: layer + "self_attn.o_proj", gguf: "blk.N.attn_output"},
		{hf: layer + "mlp.gate_proj", gguf: "blk.N.ffn_gate"},
		{hf: layer + "mlp.up_proj", gguf: "blk.N.ffn_up"},
		{hf: layer + "mlp.down_proj", gguf: "blk.N.ffn_down"},
	}, own...)
}

var (
	// oneNorm is the norm before the MLP of Llama's layout, sandwich the norms of Gemma 2's, headNorms those of each head.
	oneNorm  = ggufName{hf: layer + "post_attention_layernorm", gguf: "blk.N.ffn_norm"}
	sandwich = []ggufName{
		{hf: layer + "post_attention_layernorm", gguf: "blk.N.post_attention_norm", add: 1},
		{hf: layer + "pre_feedforward_layernorm", gguf: "blk.N.ffn_norm", add: 1},
		{hf: layer + "post_feedforward_layernorm", gguf: "blk.N.post_ffw_norm", add: 1},
	}
	headNorms = []ggufName{
		{hf: layer + "self_attn.q_norm", gguf: "blk.N.attn_q_norm"},
		{hf: layer + "self_attn.k_norm", gguf: "blk.N.attn_k_norm"},
	}
	gemmaHeadNorms = []ggufName{
		{hf: layer + "self_attn.q_norm", gguf: "blk.N.attn_q_norm", add: 1},
		{hf: layer + "self_attn.k_norm", gguf: "blk.N.attn_k_norm", add: 1},
	}
)

// sizes are the keys that files of every family have; decoderKeys those of Llama's kin.
var (
	sizes = []ggufKey{
		{"block_count", "num_hidden_layers", ggufU32, true},
		{"context_length", "max_position_embeddings", ggufU32, true},
		{"embedding_length", "hidden_size", ggufU32, true},
		{"feed_forward_length", "intermediate_size", ggufU32, true},
		{"attention.head_count", "num_attention_heads", ggufU32, true},
	}
	decoderKeys = append(sizes[:len(sizes):len(sizes)],
		ggufKey{"attention.layer_norm_rms_epsilon", "rms_norm_eps", ggufF32, true})
	layerNormKeys = append(sizes[:len(sizes):len(sizes)],
		ggufKey{"attention.layer_norm_epsilon", "layer_norm_eps", ggufF32, true})
)

var llamaGGUF = &ggufForm{
	arch: "llama", names: decoderNames(interleaved, 0, oneNorm), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.out["attention_bias"], r.out["mlp_bias"] = r.has("blk.0.attn_q.bias"), r.has("blk.0.ffn_up.bias")
		if n, ok := r.integer("attention.sliding_window"); ok && n > 0 { // Mistral's: llama.cpp itself does not read it
			r.architecture, r.out["sliding_window"] = "MistralForCausalLM", n
			delete(r.out, "attention_bias")
			delete(r.out, "mlp_bias")
		}
	},
	meta: func(w *ggufWriter) {
		w.decoder("silu")
		w.window("sliding_window")
	},
}

var qwen2GGUF = &ggufForm{
	arch: "qwen2", names: decoderNames(nil, 0, oneNorm), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.out["use_sliding_window"] = false
	},
	meta: func(w *ggufWriter) {
		w.decoder("silu")
		w.refuse("use_sliding_window", false)
	},
}

var qwen3GGUF = &ggufForm{
	arch: "qwen3", names: decoderNames(nil, 0, append(headNorms[:2:2], oneNorm)...), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.out["use_sliding_window"], r.out["attention_bias"] = false, r.has("blk.0.attn_q.bias")
	},
	meta: func(w *ggufWriter) {
		w.decoder("silu")
		w.refuse("use_sliding_window", false)
		w.refuse("attention_bias", false)
	},
}

var gemmaGGUF = &ggufForm{
	arch: "gemma", names: decoderNames(nil, 1, ggufName{hf: oneNorm.hf, gguf: oneNorm.gguf, add: 1}), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.out["hidden_activation"] = gemmaAct
	},
	meta: func(w *ggufWriter) { w.decoder(gemmaAct) },
}

var gemma2GGUF = &ggufForm{
	arch: "gemma2", names: decoderNames(nil, 1, sandwich...), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.gemma(46)
		for _, k := range []struct {
			key string
			def float64
		}{{"attn_logit_softcapping", 50}, {"final_logit_softcapping", 30}} {
			r.out[k.key] = k.def
			if v, ok := r.number(k.key); ok {
				r.out[k.key] = v
			}
		}
		r.windows(4096, 2)
	},
	meta: func(w *ggufWriter) {
		w.decoder(gemmaAct)
		w.gemma(46, 2)
		w.set("attn_logit_softcapping", float32(w.float("attn_logit_softcapping")))
		w.set("final_logit_softcapping", float32(w.float("final_logit_softcapping")))
	},
}

var gemma3GGUF = &ggufForm{
	arch: "gemma3", names: decoderNames(nil, 1, append(sandwich[:3:3], gemmaHeadNorms...)...), keys: decoderKeys,
	config: func(r *ggufReader) {
		r.decoder()
		r.gemma(62)
		r.out["rope_local_base_freq"] = 10000.0
		if v, ok := r.number("rope.freq_base_swa"); ok {
			r.out["rope_local_base_freq"] = v
		}
		if v, ok := r.number("final_logit_softcapping"); ok && v != 0 {
			r.out["final_logit_softcapping"] = v
		}
		r.windows(0, 6)
	},
	meta: func(w *ggufWriter) {
		w.decoder(gemmaAct)
		w.gemma(62, 6)
		w.set("rope.freq_base_swa", float32(w.c.rope.local))
		if v := w.float("final_logit_softcapping"); v != 0 {
			w.set("final_logit_softcapping", float32(v))
		}
	},
}

var phi3GGUF = &ggufForm{
	arch: "phi3", keys: decoderKeys,
	names: []ggufName{
		{hf: "model.embed_tokens", gguf: "token_embd"}, {hf: "model.norm", gguf: "output_norm"}, {hf: "lm_head", gguf: "output"},
		{hf: layer + "input_layernorm", gguf: "blk.N.attn_norm"}, oneNorm,
		{hf: layer + "self_attn.qkv_proj", gguf: "blk.N.attn_qkv"}, {hf: layer + "self_attn.o_proj", gguf: "blk.N.attn_output"},
		{hf: layer + "mlp.gate_up_proj", gguf: "blk.N.ffn_up"}, {hf: layer + "mlp.down_proj", gguf: "blk.N.ffn_down"},
	},
	config: func(r *ggufReader) {
		r.decoder()
		if n, ok := r.integer("attention.sliding_window"); ok && n > 0 {
			r.out["sliding_window"] = n
		}
	},
	meta: func(w *ggufWriter) {
		w.decoder("silu")
		w.window("sliding_window")
	},
}

var phiGGUF = &ggufForm{
	arch: "phi2", keys: layerNormKeys, head: true,
	names: []ggufName{
		{hf: "model.embed_tokens", gguf: "token_embd"}, {hf: "model.final_layernorm", gguf: "output_norm"},
		{hf: "lm_head", gguf: "output"}, {hf: layer + "input_layernorm", gguf: "blk.N.attn_norm"},
		{hf: layer + "self_attn.q_proj", gguf: "blk.N.attn_q", part: 1}, {hf: layer + "self_attn.k_proj", gguf: "blk.N.attn_k", part: 2},
		{hf: layer + "self_attn.v_proj", gguf: "blk.N.attn_v", part: 3}, {hf: layer + "self_attn.dense", gguf: "blk.N.attn_output"},
		{hf: layer + "mlp.fc1", gguf: "blk.N.ffn_up"}, {hf: layer + "mlp.fc2", gguf: "blk.N.ffn_down"},
	},
	config: func(r *ggufReader) { r.decoder() },
	meta:   func(w *ggufWriter) { w.decoder("gelu_new") },
}

var neoxGGUF = &ggufForm{
	arch: "gptneox", keys: layerNormKeys, head: true,
	names: []ggufName{
		{hf: "gpt_neox.embed_in", gguf: "token_embd"}, {hf: "gpt_neox.final_layer_norm", gguf: "output_norm"},
		{hf: "embed_out", gguf: "output"},
		{hf: "gpt_neox.layers.N.input_layernorm", gguf: "blk.N.attn_norm"},
		{hf: "gpt_neox.layers.N.post_attention_layernorm", gguf: "blk.N.ffn_norm"},
		{hf: "gpt_neox.layers.N.attention.query_key_value", gguf: "blk.N.attn_qkv", rows: byPart},
		{hf: "gpt_neox.layers.N.attention.dense", gguf: "blk.N.attn_output"},
		{hf: "gpt_neox.layers.N.mlp.dense_h_to_4h", gguf: "blk.N.ffn_up"},
		{hf: "gpt_neox.layers.N.mlp.dense_4h_to_h", gguf: "blk.N.ffn_down"},
	},
	config: func(r *ggufReader) {
		r.decoder()
		r.out["rotary_pct"] = 1.0
		if v, ok := r.out["partial_rotary_factor"]; ok {
			r.out["rotary_pct"] = v
			delete(r.out, "partial_rotary_factor")
		}
		delete(r.out, "num_key_value_heads")
		r.out["rotary_emb_base"], r.out["attention_bias"] = r.out["rope_theta"], r.has("blk.0.attn_qkv.bias")
		r.out["use_parallel_residual"] = true
		if v, ok, err := r.meta.Bool(r.arch + ".use_parallel_residual"); ok || err != nil {
			r.out["use_parallel_residual"] = v
			r.fail(err)
		}
	},
	meta: func(w *ggufWriter) {
		w.decoder("gelu")
		w.refuse("attention_bias", true) // llama.cpp wants the biases
		w.set("use_parallel_residual", w.value("use_parallel_residual"))
	},
}

var gpt2GGUF = &ggufForm{
	arch: "gpt2",
	names: []ggufName{
		{hf: "transformer.wte", gguf: "token_embd"}, {hf: "transformer.wpe", gguf: "position_embd"},
		{hf: "transformer.ln_f", gguf: "output_norm"}, {hf: "lm_head", gguf: "output"},
		{hf: "transformer.h.N.ln_1", gguf: "blk.N.attn_norm"}, {hf: "transformer.h.N.ln_2", gguf: "blk.N.ffn_norm"},
		{hf: "transformer.h.N.attn.c_attn", gguf: "blk.N.attn_qkv", conv: true},
		{hf: "transformer.h.N.attn.c_proj", gguf: "blk.N.attn_output", conv: true},
		{hf: "transformer.h.N.mlp.c_fc", gguf: "blk.N.ffn_up", conv: true},
		{hf: "transformer.h.N.mlp.c_proj", gguf: "blk.N.ffn_down", conv: true},
	},
	keys: []ggufKey{
		{"block_count", "n_layer", ggufU32, true}, {"context_length", "n_positions", ggufU32, true},
		{"embedding_length", "n_embd", ggufU32, true}, {"feed_forward_length", "n_inner", ggufU32, true},
		{"attention.head_count", "n_head", ggufU32, true}, {"attention.layer_norm_epsilon", "layer_norm_epsilon", ggufF32, true},
	},
	config: func(r *ggufReader) {
		r.out["n_ctx"], r.out["activation_function"] = r.out["n_positions"], "gelu_new"
		if r.has("blk.0.attn_q.weight") {
			r.fail(errGPT2Split)
		}
	},
	meta: func(w *ggufWriter) {
		w.act("activation_function", "gelu_new", "gelu_pytorch_tanh")
		w.refuse("scale_attn_weights", true)
		w.set("feed_forward_length", uint32(w.c.Intermediate))
	},
}
