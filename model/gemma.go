package model

import (
	"math"

	"github.com/adaptflow/adaptflow/nn"
)

// openGemma reads the first Gemma family (Gemma Team 2024): Llama's layout with the embeddings multiplied by √hidden, norms that
// multiply by 1+w, a GELU gate, a head tied to the embedding, and heads of 256.
func openGemma(c *Config, l *loader) (nn.Wiring, error) {
	d, err := readGemma(c, decoderDefaults{kvHeads: 16, headDim: 256, positions: 8192, eps: 1e-6, theta: 10000, partial: 1, act: gemmaAct})
	if err != nil {
		return nil, err
	}
	var p parts
	if err := c.fields(field{"attention_bias", &p.qkvBias, false}); err != nil {
		return nil, err
	}
	p.oBias = p.qkvBias
	d.load(l, p)
	return d, nil
}

// gemmaAct is the activation of all Gemmas.
const gemmaAct = "gelu_pytorch_tanh"

// readGemma reads what the three generations of Gemma share. Early files say "gelu" in hidden_act where the weights were trained with
// the tanh approximation; as GemmaConfig's documentation has it, hidden_activation decides, and null means that approximation.
func readGemma(c *Config, def decoderDefaults) (*decoder, error) {
	var act string
	if err := c.fields(field{"hidden_act", &act, false}); err != nil {
		return nil, err
	}
	if act == "gelu" && (c.null("hidden_activation") || c.raw["hidden_activation"] == nil) {
		delete(c.raw, "hidden_act")
	}
	d, err := readDecoder(c, def)
	if err != nil {
		return nil, err
	}
	d.embedScale, d.addOne = float32(math.Sqrt(float64(c.Hidden))), true
	return d, nil
}
