package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// options are an optimiser's own settings, by name; a switch is 0 or 1.
type options map[string]float64

// with returns the options with those of an optim_args string, "key=value,key=value" as Hugging Face Trainer has it.
func (o options) with(optim, text string) (options, error) {
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
			return nil, fmt.Errorf("train: optim_args: %q is no setting of %s, which has %s", part, optim, strings.Join(names, ", "))
		}
		switch strings.ToLower(v) {
		case "true":
			out[k] = 1
		case "false", "none":
			out[k] = 0
		default:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return nil, fmt.Errorf("train: optim_args: %s=%q is no number", k, v)
			}
			out[k] = f
		}
	}
	return out, nil
}

func (o options) on(name string) bool { return o[name] != 0 }
