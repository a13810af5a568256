package continual

import (
	"fmt"
	"math"
)

// What became of an increment.
const (
	Accepted   = "accepted"    // it is a version
	RolledBack = "rolled_back" // trained, and dropped for its scores: the version before it stays
	Rejected   = "rejected"    // not trained: nothing in its files can be used
	Duplicate  = "duplicate"   // not trained: its content was taken before, under another name
)

// Limits are what an increment must hold to be kept.
type Limits struct {
	// MaxForgetting is the share by which the general perplexity may lie above the base model's, over all increments together.
	MaxForgetting float64 `yaml:"max_forgetting" json:"max_forgetting" bounds:"[0,)" help:"share by which the general perplexity may lie above the base model's; an increment that exceeds it is rolled back"`
	// MaxDomainRise is the share by which one increment may raise the domain's perplexity; negative for no limit.
	MaxDomainRise float64 `yaml:"max_domain_rise" json:"max_domain_rise" help:"share by which an increment may raise the domain's perplexity before it is rolled back; negative for no limit"`
}

// Score is a model's score on an evaluation set.
type Score struct {
	NLL        float64 `json:"nll"` // mean, nats a token
	Perplexity float64 `json:"perplexity"`
	Tokens     int     `json:"tokens"`
}

// Scores are a model's scores on the evaluation sets; nil where a set is empty.
type Scores struct {
	Domain  *Score `json:"domain,omitempty"`
	General *Score `json:"general,omitempty"`
}

// GeneralLimit is the highest general perplexity that is kept, given the base model's score; +Inf where the base has none.
func (l Limits) GeneralLimit(base *Score) float64 {
	if base == nil {
		return math.Inf(1)
	}
	return base.Perplexity * (1 + l.MaxForgetting)
}

// Decide says whether an increment is kept, and if not, why. base is the base model's score on the general set; before and after are scores
// of the version that the increment started from and of what it gave. A score that is not a number is never kept.
func (l Limits) Decide(base *Score, before, after Scores) (decision, reason string) {
	for _, s := range []struct {
		name          string
		score, before *Score
		limit         float64
		of            string
	}{
		{"general", after.General, nil, l.GeneralLimit(base), fmt.Sprintf("%+.1f %% of the base model's", 100*l.MaxForgetting)},
		{"domain", after.Domain, before.Domain, math.Inf(1), fmt.Sprintf("%+.1f %% of the version before", 100*l.MaxDomainRise)},
	} {
		if s.score == nil {
			continue
		}
		p := s.score.Perplexity
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return RolledBack, fmt.Sprintf("the %s perplexity is not a finite number", s.name)
		}
		if s.before != nil && l.MaxDomainRise >= 0 {
			s.limit = s.before.Perplexity * (1 + l.MaxDomainRise)
		}
		if p > s.limit {
			return RolledBack, fmt.Sprintf("the %s perplexity is %.2f, above the limit of %.2f (%s)", s.name, p, s.limit, s.of)
		}
	}
	return Accepted, ""
}
