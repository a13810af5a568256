package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// options are the own settings of an optimiser or a compression, by name; a switch is 0 or 1.
type options map[string]float64

// with returns the options with those of the text that the setting key holds, "key=value,key=value" as Hugging Face Trainer's optim_args.
func (o options) with(key, row, text string) (options, error) {
	out := options{}
	for k, v := range o {
		out[k] = v
	}
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if _, known := o[k]; !known || !ok {
			var names []string
			for n := range o {
				names = append(names, n)
			}
			slices.Sort(names)
			if names == nil {
				names = []string{"none"}
			}
			return nil, fmt.Errorf("train: %s: %q is not a setting of %s, which has %s", key, part, row, strings.Join(names, ", "))
		}
		switch strings.ToLower(v) {
		case "true":
			out[k] = 1
		case "false", "none":
			out[k] = 0
		default:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return nil, fmt.Errorf("train: %s: %s=%q is not a number", key, k, v)
			}
			out[k] = f
		}
	}
	return out, nil
}

func (o options) on(name string) bool { return o[name] != 0 }

// RowArgs are the own settings of the rows of a table, by the row's name: each setting with its default. A switch of an optimiser or a
// compression is 0 or 1.
type RowArgs map[string]map[string]any

// OptimizerArgs are the keys that optim_args may have.
func OptimizerArgs() RowArgs {
	out := RowArgs{}
	for _, r := range optimizers {
		out[r.name] = r.options.plain()
	}
	return out
}

// CompressionArgs are the keys that compression_args may have.
func CompressionArgs() RowArgs {
	out := RowArgs{}
	for _, r := range compressions {
		out[r.name] = r.options.plain()
	}
	return out
}

// ScheduleArgs are the keys that lr_scheduler_kwargs may have.
func ScheduleArgs() RowArgs {
	out := RowArgs{}
	for _, r := range schedules {
		out[r.name] = r.defaults
	}
	return out
}

func (o options) plain() map[string]any {
	out := map[string]any{}
	for k, v := range o {
		out[k] = v
	}
	return out
}

// ArgHelps says in a line what each of those settings is.
var ArgHelps = map[string]string{
	"amsgrad":         "the largest second moment so far is used",
	"min_8bit_size":   "values below which a parameter's state stays in 32 bits",
	"momentum":        "momentum",
	"dampening":       "damping of the momentum",
	"nesterov":        "Nesterov's momentum",
	"scale_parameter": "the learning rate is scaled by the parameter's size",
	"relative_step":   "the learning rate follows from the step",
	"warmup_init":     "with relative_step, the learning rate grows from a small one",
	"beta1":           "momentum; 0 for none",
	"clip_threshold":  "bound of an update's root mean square",
	"decay_rate":      "exponent of the decay of the second moment",
	"eps1":            "added to squared gradients",
	"eps2":            "least size of a parameter for scale_parameter",
	"alpha":           "smoothing of the squared gradients",
	"centered":        "squared gradients are centred by their mean",
	"eps":             "added to the denominator",
	"ns_steps":        "steps of the Newton-Schulz iteration",
	"adamw_lr_ratio":  "learning rate of the parameters that AdamW moves, over that of the matrices",
	"lr_decay":        "decay of the learning rate by step",
	"correct_bias":    "moments are corrected for their start at zero",
	"block_size":      "values that share a scale",
	"density":         "share of the values that is sent",
	"num_cycles":      "waves of the cosine",
	"lr_end":          "learning rate at the end",
	"power":           "exponent of the polynomial",
	"timescale":       "steps over which the rate falls; 0 for those of warm-up",
	"min_lr":          "learning rate at the end; 0 where min_lr_rate says it",
	"min_lr_rate":     "learning rate at the end, over the peak",
	"min_lr_ratio":    "least learning rate, over the peak",
	"num_decay_steps": "steps of the decay at the end",
	"decay_type":      "form of the decay: linear, cosine or 1-sqrt",
}
