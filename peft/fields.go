package peft

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// TargetFields are the fields of every configuration that chooses modules; a method's configuration embeds it.
type TargetFields struct {
	TargetModules Names    `json:"target_modules"`
	ModulesToSave []string `json:"modules_to_save"`
}

// ExcludeFields is embedded where HF's configuration can leave modules out.
type ExcludeFields struct {
	ExcludeModules Names `json:"exclude_modules"`
}

// LayerFields is embedded where HF's configuration can choose layers.
type LayerFields struct {
	LayersToTransform Ints  `json:"layers_to_transform"`
	LayersPattern     Names `json:"layers_pattern"`
}

// BiasFields is embedded where HF's configuration can train biases: "none", "all", or those of the targets ("vera_only").
type BiasFields struct {
	Bias string `json:"bias"`
}

// FanFields is embedded where the method also adapts Conv1D layers, whose weight is stored [in, out]. HF corrects the value to
// what the target is, and so does attach.
type FanFields struct {
	FanInFanOut bool `json:"fan_in_fan_out"`
}

// newCommon are the common fields of a new configuration.
func newCommon(peftType string) Common { return Common{PeftType: peftType, PeftVersion: peftVersion} }

// InitNamed is a field that is true, false or one of a method's names, such as init_weights: "bat".
type InitNamed struct {
	On   bool
	Name string
}

// MarshalJSON writes a boolean or a string.
func (i InitNamed) MarshalJSON() ([]byte, error) {
	if i.Name != "" {
		return json.Marshal(i.Name)
	}
	return json.Marshal(i.On)
}

// UnmarshalJSON reads a boolean or a string; the method judges the string.
func (i *InitNamed) UnmarshalJSON(b []byte) error {
	*i = InitNamed{}
	if string(b) != "null" && json.Unmarshal(b, &i.On) == nil {
		return nil
	}
	if err := json.Unmarshal(b, &i.Name); err != nil || i.Name == "" {
		return fmt.Errorf("want true, false or a name")
	}
	return nil
}

// fieldOf reads the field of cfg, a pointer to a configuration, with that name in JSON; the zero value where it has none of that type.
func fieldOf[T any](cfg any, name string) T {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), fields)
	var v T
	if f, ok := fields[name]; ok {
		v, _ = f.Interface().(T)
	}
	return v
}

// hasField says whether cfg has a field with that name in JSON.
func hasField(cfg any, name string) bool {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), fields)
	_, ok := fields[name]
	return ok
}

// patternFields are the names of cfg's fields that map modules to numbers, in the order of the alphabet.
func patternFields(cfg any) (out []string) {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), fields)
	for _, name := range sortedKeys(fields) {
		if _, ok := fields[name].Interface().(Patterns); ok {
			out = append(out, name)
		}
	}
	return out
}

// setField writes a field of cfg where it has one of that name.
func setField(cfg any, name string, v any) {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(cfg).Elem(), fields)
	if f, ok := fields[name]; ok {
		f.Set(reflect.ValueOf(v))
	}
}

// atLeast refuses a number below what it must be.
func atLeast(method, field string, v, least int) error {
	if v < least {
		return fmt.Errorf("peft: %s: %s = %d; it must be at least %d", method, field, v, least)
	}
	return nil
}

// notNegative refuses a number below 0.
func notNegative(method, field string, v float64) error {
	if !(v >= 0) {
		return fmt.Errorf("peft: %s: %s = %g; it must not be negative", method, field, v)
	}
	return nil
}

// effective refuses a factor of 0, with which a method changes nothing, so that every gradient is 0 too.
func effective(method, field string, v float64) error {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("peft: %s: %s = %g leaves the adapter without effect, so that it learns nothing; give another number",
			method, field, v)
	}
	return nil
}

// rankFits refuses a rank above both dimensions of a target, which buys nothing that a full update would not: HF PEFT trains it, at many
// times the memory. A rank between the two is taken, as conversions make it.
func rankFits(method, field string, r, in, out int, name string) error {
	if r > max(in, out) {
		return fmt.Errorf("peft: %s: %s = %d is above the dimensions of %s, %d inputs and %d outputs; %d is the most that can help", method,
			field, r, name, in, out,
			min(in, out))
	}
	return nil
}

// probability refuses a rate outside [0, 1).
func probability(method, field string, v Float) error {
	if !(v >= 0 && v < 1) {
		return fmt.Errorf("peft: %s: %s = %g; it must be in [0, 1)", method, field, float64(v))
	}
	return nil
}

// rankPattern refuses patterns whose values are not ranks.
func rankPattern(method, field string, ps Patterns) error {
	for _, p := range ps {
		if p.Value < 1 || p.Value > mostCount || p.Value != math.Trunc(p.Value) {
			return fmt.Errorf("peft: %s: %s[%q] = %g; it must be a whole number of at least 1, in proportion to the model",
				method, field, p.Key, p.Value)
		}
	}
	return nil
}

// checkBias refuses a bias setting that HF does not have.
func checkBias(method, bias string) error {
	only := strings.ToLower(method) + "_only"
	// the reference takes any name that ends in _only
	other := map[string]string{"FOURIERFT": "fourier_only", "ADALORA": "lora_only"}[method]
	if bias != "none" && bias != "all" && !strings.EqualFold(bias, only) && (other == "" || bias != other) {
		return fmt.Errorf("peft: %s: bias = %q; it must be \"none\", \"all\" or %q", method, bias, only)
	}
	return nil
}

// firstError returns the first that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// rankAlpha resolves rank_pattern and alpha_pattern for a module.
func rankAlpha(r int, rp Patterns, alpha float64, ap Patterns, name string) (int, float64, error) {
	rank, err := pattern("rank_pattern", rp, name, float64(r))
	if err != nil {
		return 0, 0, err
	}
	alpha, err = pattern("alpha_pattern", ap, name, alpha)
	return int(rank), alpha, err
}
