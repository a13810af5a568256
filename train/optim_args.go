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
			return nil, fmt.Errorf("train: %s: %q is no setting of %s, which has %s", key, part, row, strings.Join(names, ", "))
		}
		switch strings.ToLower(v) {
		case "true":
			out[k] = 1
		case "false", "none":
			out[k] = 0
		default:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return nil, fmt.Errorf("train: %s: %s=%q is no number", key, k, v)
			}
			out[k] = f
		}
	}
	return out, nil
}

func (o options) on(name string) bool { return o[name] != 0 }
