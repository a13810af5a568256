// Package rollouts has the transforms of training on answers of the model's own: workers sample the answers to the prompts of a round and
// score them, and one of them joins what they wrote. What travels are steps and references; the answers lie in files beside the checkpoints
// (package train, Online). An answer depends on its prompt, the round and which of the prompt's answers it is, so that any number of
// workers, and a retry, give the same files.
package rollouts

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
)

func init() {
	register.DoFn3x1[context.Context, int, func(Share), error](&ShareFn{})
	register.DoFn3x1[context.Context, Share, func(int, core.FileRef), error](&SampleFn{})
	register.DoFn4x1[context.Context, int, func(*core.FileRef) bool, func(int), error](&JoinFn{})
	beam.RegisterType(reflect.TypeFor[Share]())
	beam.RegisterType(reflect.TypeFor[core.FileRef]())
	register.Emitter1[Share]()
	register.Emitter1[int]()
	register.Emitter2[int, core.FileRef]()
	register.Iter1[core.FileRef]()
}

// Config is what workers sample by. It travels as JSON.
type Config struct {
	Job       string        `json:"job"`       // core.Job as JSON
	Tokenizer string        `json:"tokenizer"` // folder, or a reference to one
	Engine    string        `json:"engine,omitempty"`
	Ends      tokenize.Ends `json:"ends"`
	Parts     int           `json:"parts"` // of a round, each sampled by one worker
}

func configOf(text string) (*Config, error) {
	c := &Config{}
	if err := json.Unmarshal([]byte(text), c); err != nil {
		return nil, fmt.Errorf("rollouts: the settings: %w", err)
	}
	return c, nil
}

// Share is a part of a round.
type Share struct{ Step, Part int }

// ShareFn emits the parts of the round that begins at a step.
type ShareFn struct{ Parts int }

// ProcessElement emits them.
func (f *ShareFn) ProcessElement(_ context.Context, step int, emit func(Share)) error {
	for p := range f.Parts {
		emit(Share{step, p})
	}
	return nil
}

// SampleFn samples and scores a part, and emits the reference to what it wrote.
type SampleFn struct{ Config string }

// ProcessElement samples a part. Where the round's rollouts are there it emits a reference to nothing.
func (f *SampleFn) ProcessElement(ctx context.Context, sh Share, emit func(int, core.FileRef)) error {
	c, err := configOf(f.Config)
	if err != nil {
		return err
	}
	var ref core.FileRef
	if err := core.Use(c.Job, func(s *core.Session) error {
		if done, err := s.HasRollouts(sh.Step); done || err != nil {
			return err
		}
		rows, err := c.sample(ctx, s, sh.Step, sh.Part)
		if err == nil {
			ref, err = s.SaveRollouts(sh.Step, sh.Part, rows)
		}
		return err
	}); err != nil {
		return err
	}
	emit(sh.Step, ref)
	return nil
}

// JoinFn joins the parts of a round.
type JoinFn struct{ Config string }

// ProcessElement joins them and emits the step at which the round's training begins.
func (f *JoinFn) ProcessElement(_ context.Context, step int, refs func(*core.FileRef) bool, emit func(int)) error {
	c, err := configOf(f.Config)
	if err != nil {
		return err
	}
	var all []core.FileRef
	for r := (core.FileRef{}); refs(&r); r = (core.FileRef{}) {
		all = append(all, r)
	}
	if err := core.Use(c.Job, func(s *core.Session) error { return s.JoinRollouts(step, all) }); err != nil {
		return err
	}
	emit(step)
	return nil
}

// Round samples and scores the answers of the round that begins at the step in at, and returns that step when its rollouts are there.
func Round(s beam.Scope, cfg Config, at beam.PCollection) beam.PCollection {
	s = s.Scope("rollouts.Round")
	raw, err := json.Marshal(&cfg)
	if err != nil {
		panic(fmt.Sprintf("rollouts: %v", err))
	}
	shares := beam.Reshuffle(s, beam.ParDo(s, &ShareFn{Parts: cfg.Parts}, at))
	refs := beam.ParDo(s, &SampleFn{Config: string(raw)}, shares)
	return beam.ParDo(s, &JoinFn{Config: string(raw)}, beam.GroupByKey(s, refs))
}
