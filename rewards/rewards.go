package rewards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Answer is an answer to be scored.
type Answer struct {
	Prompt     string
	Completion string  // without the tokens that end it
	Right      string  // what a right answer would be; "" where the row has none
	IDs        []int32 // its tokens, those that end it among them
	Truncated  bool    // it was cut at its longest
	PromptIDs  []int32 // the prompt's tokens
}

// Reward scores answers. A number is NaN where an answer has none: it does not count then. An implementation is a pointer to a struct whose
// exported fields are its settings, with names in json tags. It may implement [Checker] and [Opener] besides.
type Reward interface {
	Score(ctx context.Context, answers []Answer) ([]float64, error)
}

// Checker is a reward that says what is wrong with its settings.
type Checker interface{ Check() error }

// Opener is a reward that opens what it needs.
type Opener interface {
	Open(e Env) error
	Close() error
}

// Env is what a reward opens with.
type Env struct {
	// Cache is a folder, or a location, in which what others said is kept, so that a run that goes on sees the same rewards.
	Cache string
	// Model is the folder of the base model, and DType how its weights are stored.
	Model, DType string
}

// Row is a row of the table of rewards.
type Row struct {
	Name string
	Doc  string
	New  func() Reward // with its defaults
}

// Table is the table of rewards. A new one is a file and a row here.
var Table = []Row{
	{"accuracy", "1 for an answer that is the right one, by its number or its text", func() Reward { return &Accuracy{By: "auto"} }},
	{"format", "1 for an answer of which a regular expression holds", func() Reward { return &Format{} }},
	{"think_format", "1 for an answer that thinks between <think> and </think> and then goes on", func() Reward { return ThinkFormat{} }},
	{"soft_overlong_punishment", "less than 0 for an answer that comes near its longest, or is longer",
		func() Reward { return &Overlong{} }},
	{"repetition_penalty", "less than 0 for an answer that says the same again",
		func() Reward { return &Repetition{NgramSize: 3, MaxPenalty: -1} }},
	{"cosine_scaled", "of right answers more for the shorter, of wrong ones more for the longer", func() Reward { return NewCosine() }},
	{"model", "what a reward model says, an adapter over the same base", func() Reward { return NewModel() }},
	{"program", "what a program says", func() Reward { return NewProgram() }},
	{"endpoint", "what an HTTP endpoint says", func() Reward { return NewEndpoint() }},
}

// Register adds a reward of a program's own to [Table]. It is called from an init function, for workers are the same program. A name
// that is there already is a fault of the program: it panics, as does a row without a name or a constructor.
func Register(r Row) {
	if r.Name == "" || r.New == nil {
		panic("rewards: Register: a reward has a name and a constructor")
	}
	if slices.Contains(Names(), r.Name) {
		panic(fmt.Sprintf("rewards: Register: there is a reward %s already", r.Name))
	}
	Table = append(Table, r)
}

// Func is a reward that is a function of one answer, for programs that register one.
type Func func(a Answer) float64

// Score implements [Reward].
func (f Func) Score(_ context.Context, answers []Answer) ([]float64, error) {
	return each(answers, f), nil
}

// each scores answers one by one.
func each(answers []Answer, f func(a Answer) float64) []float64 {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = f(a)
	}
	return out
}

// Names are the names of the table, in its order.
func Names() (names []string) {
	for _, r := range Table {
		names = append(names, r.Name)
	}
	return names
}

// New makes a reward of its settings, of which "name" says which it is; keys that it does not have are an error.
func New(settings map[string]any) (name string, _ Reward, err error) {
	name, _ = settings["name"].(string)
	for _, r := range Table {
		if r.Name != name {
			continue
		}
		w := r.New()
		rest := map[string]any{}
		for k, v := range settings {
			if k != "name" && k != "as" {
				rest[k] = v
			}
		}
		if len(rest) > 0 {
			if reflect.ValueOf(w).Kind() != reflect.Pointer {
				return name, nil, fmt.Errorf("the reward %s has no settings", name)
			}
			raw, err := json.Marshal(rest)
			if err != nil {
				return name, nil, fmt.Errorf("the settings of the reward %s: %w", name, err)
			}
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(w); err != nil {
				return name, nil, fmt.Errorf("the settings of the reward %s: %w", name, err)
			}
		}
		if c, ok := w.(Checker); ok {
			if err := c.Check(); err != nil {
				return name, nil, fmt.Errorf("the settings of the reward %s: %w", name, err)
			}
		}
		if as, ok := settings["as"]; ok {
			if name, ok = as.(string); !ok || name == "" {
				return name, nil, fmt.Errorf("the reward %s: as is %v; it must be the name in metrics", r.Name, as)
			}
		}
		return name, w, nil
	}
	return name, nil, fmt.Errorf("the reward %q is unknown; known are %s", name, strings.Join(Names(), ", "))
}

// Set is rewards that score together.
type Set struct {
	Names []string // under which metrics are reported, in order
	all   []Reward
}

// NewSet makes rewards of their settings. Two have no name in common: "as" names one otherwise.
func NewSet(settings []map[string]any) (*Set, error) {
	if len(settings) == 0 {
		return nil, errors.New("reward_funcs names no reward: an answer is better than another by its reward")
	}
	s := &Set{}
	for _, x := range settings {
		name, w, err := New(x)
		if err != nil {
			return nil, err
		}
		if slices.Contains(s.Names, name) {
			return nil, fmt.Errorf("reward_funcs has two rewards %s: name one of them by as", name)
		}
		s.Names, s.all = append(s.Names, name), append(s.all, w)
	}
	return s, nil
}

// Open opens what the rewards need.
func (s *Set) Open(e Env) error {
	for i, w := range s.all {
		if o, ok := w.(Opener); ok {
			if err := o.Open(e); err != nil {
				return fmt.Errorf("the reward %s: %w", s.Names[i], err)
			}
		}
	}
	return nil
}

// Close frees it.
func (s *Set) Close() (err error) {
	for _, w := range s.all {
		if o, ok := w.(Opener); ok {
			err = errors.Join(err, o.Close())
		}
	}
	return err
}

// Score is the rewards of each answer, in the order of Names.
func (s *Set) Score(ctx context.Context, answers []Answer) ([][]float64, error) {
	out := make([][]float64, len(answers))
	for k, w := range s.all {
		got, err := w.Score(ctx, answers)
		if err == nil && len(got) != len(answers) {
			err = fmt.Errorf("it gives %d rewards for %d answers", len(got), len(answers))
		}
		if err != nil {
			return nil, fmt.Errorf("the reward %s: %w", s.Names[k], err)
		}
		for i, x := range got {
			if math.IsInf(x, 0) {
				return nil, fmt.Errorf("the reward %s: it gives %g for %q", s.Names[k], x, short(answers[i].Completion))
			}
			out[i] = append(out[i], x)
		}
	}
	return out, nil
}

// short is the beginning of a text.
func short(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
