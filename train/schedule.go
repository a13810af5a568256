package train

import "math"

// schedule is a row of the table of learning-rate schedules: the factor of the learning rate at a step, counted from 0, as the
// transformers function of that name gives it (get_linear_schedule_with_warmup and so on).
type schedule struct {
	name   string
	factor func(step, warmup, total int) float64
}

var schedules = []schedule{
	{"linear", func(s, w, n int) float64 {
		return max(0, float64(n-s)/float64(max(1, n-w)))
	}},
	{"cosine", func(s, w, n int) float64 {
		p := float64(s-w) / float64(max(1, n-w))
		return max(0, 0.5*(1+math.Cos(math.Pi*0.5*2*p)))
	}},
	{"constant", nil},
	{"constant_with_warmup", func(s, w, n int) float64 { return 1 }},
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

// LearningRate is the learning rate of step, counted from 0, in a run of total steps. The name must be one of Schedules.
func LearningRate(name string, base float64, step, warmup, total int) float64 {
	s := scheduleByName(name)
	if s.factor == nil {
		return base
	}
	if step < warmup {
		return base * (float64(step) / float64(max(1, warmup)))
	}
	return base * s.factor(step, warmup, total)
}
