package peft

import (
	"fmt"
)

// LoraConfig is HF's LoraConfig.
type LoraConfig struct {
	Common
	R                     int            `json:"r"`
	TargetModules         Names          `json:"target_modules"`
	ExcludeModules        Names          `json:"exclude_modules"`
	LoraAlpha             float64        `json:"lora_alpha"`
	LoraDropout           Float          `json:"lora_dropout"`
	FanInFanOut           bool           `json:"fan_in_fan_out"`
	Bias                  string         `json:"bias"`
	UseRslora             bool           `json:"use_rslora"`
	ModulesToSave         []string       `json:"modules_to_save"`
	InitLoraWeights       InitWeights    `json:"init_lora_weights"`
	LayersToTransform     Ints           `json:"layers_to_transform"`
	LayersPattern         Names          `json:"layers_pattern"`
	RankPattern           Patterns       `json:"rank_pattern"`
	AlphaPattern          Patterns       `json:"alpha_pattern"`
	TrainableTokenIndices Tokens         `json:"trainable_token_indices"`
	UseDora               bool           `json:"use_dora"`
	LoraBias              bool           `json:"lora_bias"`
	AloraInvocationTokens []int32        `json:"alora_invocation_tokens"`
	LayerReplication      [][2]int       `json:"layer_replication"`
	TargetParameters      []string       `json:"target_parameters"`
	LoftqConfig           map[string]int `json:"loftq_config"`
	EvaConfig             *EvaConfig     `json:"eva_config"`
	EnsureWeightTying     bool           `json:"ensure_weight_tying"`
}

// loraUnused are the fields of HF's LoraConfig that only their defaults are accepted for.
var loraUnused = map[string]any{
	"arrow_config": nil, "corda_config": nil, "kasa_config": nil, "lora_ga_config": nil, "megatron_config": nil,
	"megatron_core":     "megatron.core",
	"monteclora_config": nil, "qalora_group_size": 16.0, "use_bdlora": nil, "use_qalora": false, "velora_config": nil,
	"-runtime_config": map[string]any{"ephemeral_gpu_offload": false},
}

func (l *lora) validate() error {
	c := &l.cfg
	switch {
	case c.R <= 0:
		return fmt.Errorf("peft: LORA: r = %d; the rank must be at least 1", c.R)
	case c.LoraAlpha == 0:
		return effective("LORA", "lora_alpha", c.LoraAlpha)
	case !(c.LoraDropout >= 0 && c.LoraDropout < 1):
		return fmt.Errorf("peft: LORA: lora_dropout = %g; it must be in [0, 1)", float64(c.LoraDropout))
	case c.Bias != "none" && c.Bias != "all" && c.Bias != "lora_only":
		return fmt.Errorf("peft: LORA: bias = %q; it must be \"none\", \"all\" or \"lora_only\"", c.Bias)
	}
	if err := c.validateVariants(); err != nil {
		return err
	}
	return rankPattern("LORA", "rank_pattern", c.RankPattern)
}

// pattern returns the first value whose key matches the end of name, or def.
func pattern(field string, ps Patterns, name string, def float64) (float64, error) {
	for _, p := range ps {
		re, err := compilePy(field, p.Key, suffixMatch)
		if err != nil {
			return 0, err
		}
		if ok, err := re.match(name); err != nil {
			return 0, err
		} else if ok {
			return p.Value, nil
		}
	}
	return def, nil
}
