package train

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// schedule is a row of the table of learning-rate schedules: the factor of the learning rate at a step, counted from 0, as the
// transformers function of that name gives it (get_linear_schedule_with_warmup and so on).
type schedule struct {
	name string
	// defaults are the keys of lr_scheduler_kwargs with their defaults.
	defaults map[string]any
	// floor, if not nil, is the factor from which warm-up starts.
	floor func(k map[string]any) float64
	// noWarmup says that warm-up does not apply.
	noWarmup bool
	factor   func(r run, k map[string]any) float64
}

// run is a place in a run: the step, the steps of warm-up and of all, and the peak learning rate.
type run struct {
	step, warmup, total int
	base                float64
}

// progress is the share of the steps after warm-up that is done.
func (r run) progress() float64 { return float64(r.step-r.warmup) / float64(max(1, r.total-r.warmup)) }

// schedules is the table of schedules. factor is asked for steps after warm-up.
var schedules = []schedule{
	{name: "linear", factor: func(r run, _ map[string]any) float64 {
		return max(0, float64(r.total-r.step)/float64(max(1, r.total-r.warmup)))
	}},
	{name: "cosine", defaults: map[string]any{"num_cycles": 0.5}, factor: func(r run, k map[string]any) float64 {
		return max(0, 0.5*(1+math.Cos(math.Pi*number(k, "num_cycles")*2*r.progress())))
	}},
	{name: "cosine_with_restarts", defaults: map[string]any{"num_cycles": 1.0}, factor: func(r run, k map[string]any) float64 {
		p := r.progress()
		if p >= 1 {
			return 0
		}
		return max(0, 0.5*(1+math.Cos(math.Pi*math.Mod(number(k, "num_cycles")*p, 1))))
	}},
	{name: "polynomial", defaults: map[string]any{"lr_end": 1e-7, "power": 1.0}, factor: func(r run, k map[string]any) float64 {
		end := number(k, "lr_end")
		if r.step > r.total {
			return end / r.base
		}
		left := 1 - r.progress()
		return ((r.base-end)*math.Pow(left, number(k, "power")) + end) / r.base
	}},
	{name: "constant", noWarmup: true, factor: func(run, map[string]any) float64 { return 1 }},
	{name: "constant_with_warmup", factor: func(run, map[string]any) float64 { return 1 }},
	{name: "inverse_sqrt", defaults: map[string]any{"timescale": 0.0}, factor: func(r run, k map[string]any) float64 {
		t := number(k, "timescale")
		if t == 0 {
			t = float64(r.warmup)
			if t == 0 {
				t = 10_000
			}
		}
		return 1 / math.Sqrt((float64(r.step)+t-float64(r.warmup))/t)
	}},
	{name: "cosine_with_min_lr", defaults: map[string]any{"num_cycles": 0.5, "min_lr": 0.0, "min_lr_rate": 0.0},
		factor: func(r run, k map[string]any) float64 {
			least := number(k, "min_lr_rate")
			if m := number(k, "min_lr"); m > 0 {
				least = m / r.base
			}
			return max(0, 0.5*(1+math.Cos(math.Pi*number(k, "num_cycles")*2*r.progress()))*(1-least)+least)
		}},
	{name: "warmup_stable_decay", defaults: map[string]any{"num_decay_steps": 0.0, "decay_type": "cosine", "min_lr_ratio": 0.0,
		"num_cycles": 0.5},
		floor: func(k map[string]any) float64 { return number(k, "min_lr_ratio") },
		factor: func(r run, k map[string]any) float64 {
			decay := int(number(k, "num_decay_steps"))
			stable := r.total - decay
			least := number(k, "min_lr_ratio")
			if r.step < stable {
				return 1
			}
			if r.step >= r.total {
				return least
			}
			p := float64(r.step-stable) / float64(max(1, decay))
			f := 0.0
			switch k["decay_type"] {
			case "linear":
				f = 1 - p
			case "1-sqrt":
				f = 1 - math.Sqrt(p)
			default:
				f = max(0, 0.5*(1+math.Cos(math.Pi*number(k, "num_cycles")*2*p)))
			}
			return max(0, f*(1-least)+least)
		}},
}

func number(k map[string]any, name string) float64 {
	switch v := k[name].(type) {
	case float64:
		return v
	case int:
		return float64(v)
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	}
	return math.NaN()
}

// kwargs completes lr_scheduler_kwargs by the defaults. An unknown key, or a value of another type, is an error.
func (s *schedule) kwargs(given map[string]any) (map[string]any, error) {
	out := maps.Clone(s.defaults)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		def, ok := s.defaults[name]
		if !ok {
			return nil, fmt.Errorf("train: lr_scheduler_kwargs: %q is not a setting of %s, which has: %s", name, s.name,
				strings.Join(slices.Sorted(maps.Keys(s.defaults)), ", "))
		}
		out[name] = given[name]
		if _, text := def.(string); text {
			if v := given[name]; v != "linear" && v != "cosine" && v != "1-sqrt" {
				return nil, fmt.Errorf("train: lr_scheduler_kwargs: %s is %v; it must be linear, cosine or 1-sqrt", name, v)
			}
		} else if v := number(out, name); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("train: lr_scheduler_kwargs: %s is %v; it must be a number", name, given[name])
		}
	}
	if s.name == "warmup_stable_decay" && !(number(out, "num_decay_steps") > 0) {
		return nil, fmt.Errorf("train: lr_scheduler_type warmup_stable_decay needs lr_scheduler_kwargs with num_decay_steps above 0")
	}
	return out, nil
}

// Schedules are the names that lr_scheduler_type may have.
func Schedules() []string {
	var names []string
	for _, s := range schedules {
		names = append(names, s.name)
	}
	return names
}

func scheduleByName(name string) *schedule {
	for i := range schedules {
		if schedules[i].name == name {
			return &schedules[i]
		}
	}
	return nil
}

// LearningRateAt is the learning rate of step, counted from 0, in a run of total steps. The settings have passed Validate.
func (a *Args) LearningRateAt(step, total int) float64 {
	s, warmup := scheduleByName(a.LRSchedulerType), a.Warmup(total)
	k, err := s.kwargs(a.LRSchedulerKwargs)
	if err != nil {
		panic(err) // Validate has seen them
	}
	if !s.noWarmup && step < warmup {
		f := float64(step) / float64(max(1, warmup))
		if s.floor != nil {
			f = f*(1-s.floor(k)) + s.floor(k)
		}
		return a.LearningRate * f
	}
	return a.LearningRate * s.factor(run{step, warmup, total, a.LearningRate}, k)
}
