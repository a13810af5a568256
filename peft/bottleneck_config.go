package peft

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/kernels"
)

// BottleneckConfig configures a bottleneck adapter: AdapterHub's BnConfig. Config names the settings that the other fields start from:
// seq_bn (also pfeiffer), double_seq_bn (houlsby), par_bn (parallel), scaled_par_bn (scaled_parallel), compacter, compacter++.
type BottleneckConfig struct {
	Common
	Config     string `json:"config" option:"input"`
	Name       string `json:"name"` // of the adapter, a part of the tensors' names
	ModelClass string `json:"model_class"`
	ModelType  string `json:"model_type"`
	HiddenSize int    `json:"hidden_size"`
	BnFields
}

// BnFields are the fields of AdapterHub's BnConfig, with its names.
type BnFields struct {
	MHAdapter               bool            `json:"mh_adapter"`     // after attention
	OutputAdapter           bool            `json:"output_adapter"` // after the MLP
	ReductionFactor         ReductionFactor `json:"reduction_factor"`
	NonLinearity            string          `json:"non_linearity"`
	OriginalLNBefore        bool            `json:"original_ln_before"` // the residual stream is added before the bottleneck reads
	OriginalLNAfter         bool            `json:"original_ln_after"`  // and after it
	LNBefore                bool            `json:"ln_before"`
	LNAfter                 bool            `json:"ln_after"`
	InitWeights             string          `json:"init_weights"`
	InitWeightsSeed         *uint64         `json:"init_weights_seed"`
	IsParallel              bool            `json:"is_parallel"`
	Scaling                 BnScaling       `json:"scaling"`
	UseGating               bool            `json:"use_gating"`
	ResidualBeforeLN        InitNamed       `json:"residual_before_ln"`
	AdapterResidualBeforeLN bool            `json:"adapter_residual_before_ln"` // without ln_after it changes nothing
	InvAdapter              *string         `json:"inv_adapter"`
	InvReductionFactor      *Float          `json:"inv_adapter_reduction_factor"`
	CrossAdapter            bool            `json:"cross_adapter"` // decoders alone have no cross attention
	LeaveOut                []int           `json:"leave_out"`
	Dropout                 Float           `json:"dropout"`
	PHMLayer                bool            `json:"phm_layer"`
	PHMDim                  int             `json:"phm_dim"`
	FactorizedPHMW          bool            `json:"factorized_phm_W"`
	SharedWPHM              bool            `json:"shared_W_phm"`
	SharedPHMRule           bool            `json:"shared_phm_rule"`
	FactorizedPHMRule       bool            `json:"factorized_phm_rule"`
	PHMCInit                string          `json:"phm_c_init"`
	PHMInitRange            Float           `json:"phm_init_range"`
	LearnPHM                bool            `json:"learn_phm"`
	HypercomplexNonlin      string          `json:"hypercomplex_nonlinearity"`
	PHMRank                 int             `json:"phm_rank"`
	PHMBias                 bool            `json:"phm_bias"`
	StochasticDepth         Float           `json:"stochastic_depth"`
}

// bnPresets are AdapterHub's named configurations, as changes of BnConfig's defaults ("bn").
var bnPresets = map[string]func(c *BnFields){
	"bn":            func(*BnFields) {},
	"seq_bn":        seqBn,
	"double_seq_bn": doubleSeqBn,
	"par_bn":        parBn,
	"scaled_par_bn": func(c *BnFields) { parBn(c); c.Scaling = BnScaling{Name: "learned"} },
	"compacter":     func(c *BnFields) { doubleSeqBn(c); compacter(c) },
	"compacter++":   func(c *BnFields) { seqBn(c); compacter(c) },
}

// bnOldNames are the deprecated names that AdapterHub still takes.
var bnOldNames = map[string]string{"pfeiffer": "seq_bn", "houlsby": "double_seq_bn", "parallel": "par_bn",
	"scaled_parallel": "scaled_par_bn"}

func seqBn(c *BnFields) {
	c.OutputAdapter, c.OriginalLNBefore, c.NonLinearity, c.ReductionFactor.All = true, true, "relu", 16
}

func doubleSeqBn(c *BnFields) {
	c.MHAdapter, c.OutputAdapter, c.NonLinearity, c.ReductionFactor.All = true, true, "swish", 16
}

func parBn(c *BnFields) {
	c.OutputAdapter, c.IsParallel, c.NonLinearity, c.ReductionFactor.All = true, true, "relu", 2
	c.InitWeights, c.Scaling = "mam_adapter", BnScaling{Value: 4}
}

func compacter(c *BnFields) { c.PHMLayer, c.NonLinearity, c.ReductionFactor.All = true, "gelu", 32 }

// ReductionFactor is one number, or a number for each block: {"1": 8, "default": 16}.
type ReductionFactor struct {
	All     Float
	ByLayer map[string]Float
}

// MarshalJSON writes a number or an object.
func (r ReductionFactor) MarshalJSON() ([]byte, error) {
	if r.ByLayer != nil {
		return json.Marshal(r.ByLayer)
	}
	return json.Marshal(r.All)
}

// UnmarshalJSON reads a number or an object.
func (r *ReductionFactor) UnmarshalJSON(raw []byte) error {
	*r = ReductionFactor{}
	if json.Unmarshal(raw, &r.All) == nil && string(raw) != "null" {
		return nil
	}
	if err := json.Unmarshal(raw, &r.ByLayer); err != nil || r.ByLayer == nil {
		return fmt.Errorf("want a number or an object such as {\"1\": 8, \"default\": 16}")
	}
	return nil
}

// of is the factor of a block.
func (r ReductionFactor) of(layer int) (float64, error) {
	v := r.All
	if r.ByLayer != nil {
		var ok bool
		if v, ok = r.ByLayer[strconv.Itoa(layer)]; !ok {
			if v, ok = r.ByLayer["default"]; !ok {
				return 0, fmt.Errorf("peft: BOTTLENECK: reduction_factor has no entry for block %d and no \"default\"; add one", layer)
			}
		}
	}
	if !(v > 0) {
		return 0, fmt.Errorf("peft: BOTTLENECK: reduction_factor = %g; it must be above 0", float64(v))
	}
	return float64(v), nil
}

// BnScaling is a number, "learned" (one trained number a bottleneck) or "channel" (one for each of its outputs).
type BnScaling struct {
	Value Float
	Name  string
}

// MarshalJSON writes a number or a string.
func (s BnScaling) MarshalJSON() ([]byte, error) {
	if s.Name != "" {
		return json.Marshal(s.Name)
	}
	return json.Marshal(s.Value)
}

// UnmarshalJSON reads a number or a string.
func (s *BnScaling) UnmarshalJSON(raw []byte) error {
	*s = BnScaling{}
	if json.Unmarshal(raw, &s.Name) == nil && string(raw) != "null" {
		return nil
	}
	if err := json.Unmarshal(raw, &s.Value); err != nil || string(raw) == "null" {
		return fmt.Errorf("want a number, \"learned\" or \"channel\"")
	}
	return nil
}

// preset sets the fields to those of a named configuration.
func (m *bottleneck) preset(name string) bool {
	if n, ok := bnOldNames[name]; ok {
		name = n
	}
	set, ok := bnPresets[name]
	if ok {
		m.cfg.BnFields = BnFields{OriginalLNAfter: true, InitWeights: "bert", Scaling: BnScaling{Value: 1},
			ResidualBeforeLN: InitNamed{On: true}, LeaveOut: []int{},
			PHMDim: 4, FactorizedPHMW: true, SharedPHMRule: true, PHMCInit: "normal", PHMInitRange: 0.0001, LearnPHM: true,
			HypercomplexNonlin: "glorot-uniform", PHMRank: 1, PHMBias: true}
		set(&m.cfg.BnFields)
	}
	return ok
}

// defaults is called with the configuration before it is decoded: `config` names what the fields start from.
func (m *bottleneck) defaults(raw []byte) error {
	var c struct {
		Config *string `json:"config"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("peft: BOTTLENECK: field config must be the name of a configuration, such as \"seq_bn\"")
	}
	if c.Config != nil && !m.preset(*c.Config) {
		known := append(sortedKeys(bnPresets), sortedKeys(bnOldNames)...)
		return fmt.Errorf("peft: BOTTLENECK: config = %q; the nearest known one is %q, of %s", *c.Config, nearest.Name(*c.Config, known),
			strings.Join(known, ", "))
	}
	return nil
}

// bnActs are the activations, by their names in transformers.
var bnActs = map[string]kernels.Act{"relu": kernels.ReLU, "gelu": kernels.GELU, "gelu_new": kernels.GELUTanh,
	"gelu_pytorch_tanh": kernels.GELUTanh,
	"swish":             kernels.SiLU, "silu": kernels.SiLU, "relu2": kernels.ReLUSquared, "quick_gelu": kernels.QuickGELU,
	"tanh": kernels.Tanh, "sigmoid": kernels.Sigmoid}

// check refuses what the method does not have, and what makes no sense.
func (m *bottleneck) check() error {
	c := &m.cfg
	for _, f := range []struct {
		on   bool
		text string
	}{
		{c.Name == "" || strings.Contains(c.Name, "."), "name must be a word without dots; it is a part of the tensors' names"},
		{!c.MHAdapter && !c.OutputAdapter, "mh_adapter and output_adapter are both false, so there is no adapter; set one of them"},
		{c.LNBefore || c.LNAfter, "ln_before and ln_after (norms inside the adapter) are not supported; set them to false"},
		{c.UseGating, "use_gating is not supported: its gate is a mean over the padding too; set it to false"},
		{c.InvAdapter != nil, "inv_adapter (invertible adapters at the embedding) is not supported; set it to null"},
		{c.StochasticDepth != 0, "stochastic_depth is not supported; set it to 0, and dropout if you want regularisation"},
		{c.ResidualBeforeLN.Name != "", "residual_before_ln must be true or false; \"post_add\" needs a norm after the sublayer, which " +
			"pre-norm models lack"},
		{!c.IsParallel && !c.OriginalLNAfter && (c.ResidualBeforeLN.On || !c.OriginalLNBefore) || c.IsParallel && !c.OriginalLNAfter,
			"original_ln_after is false, which would drop the residual stream; it may be false only with original_ln_before true and " +
				"residual_before_ln false"},
		{c.Scaling.Name == "" && c.Scaling.Value == 0,
			"scaling is 0, which leaves the adapters without effect, so that they learn nothing"},
		{c.Scaling.Name != "" && c.Scaling.Name != "learned" && c.Scaling.Name != "channel",
			"scaling must be a number, \"learned\" or \"channel\""},
		{!slices.Contains([]string{"bert", "mam_adapter", "houlsby"}, c.InitWeights),
			"init_weights must be \"bert\", \"mam_adapter\" or \"houlsby\""},
		{c.PHMLayer && c.InitWeights != "bert", "init_weights must be \"bert\" with phm_layer, whose layers start by " +
			"hypercomplex_nonlinearity"},
		{c.PHMLayer && c.SharedWPHM, "shared_W_phm is not supported; set it to false"},
		{c.PHMLayer && !c.LearnPHM, "learn_phm is false, but the reference trains the rule all the same (train_adapter); set it to true"},
		{c.PHMLayer && (c.PHMDim < 1 || c.PHMRank < 1), "phm_dim and phm_rank must be at least 1"},
		{c.PHMLayer && c.PHMCInit != "normal" && c.PHMCInit != "uniform", "phm_c_init must be \"normal\" or \"uniform\""},
		{c.PHMLayer && !slices.Contains([]string{"phm", "glorot-normal", "glorot-uniform", "normal"}, c.HypercomplexNonlin),
			"hypercomplex_nonlinearity must be \"phm\", \"glorot-normal\", \"glorot-uniform\" or \"normal\""},
	} {
		if f.on {
			return fmt.Errorf("peft: BOTTLENECK: %s", f.text)
		}
	}
	if _, ok := bnActs[strings.ToLower(c.NonLinearity)]; !ok {
		return fmt.Errorf("peft: BOTTLENECK: non_linearity = %q; known: %s", c.NonLinearity, strings.Join(sortedKeys(bnActs), ", "))
	}
	return probability("BOTTLENECK", "dropout", c.Dropout)
}
