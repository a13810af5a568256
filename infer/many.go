package infer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// Many answers questions over one base model, each with the adapter that it names, and holds a bounded number of adapters at a time: those
// that were used last. Questions of several adapters share passes over the base where the adapters can be mixed ([peft.Set]); an adapter
// that cannot, as one with virtual tokens or a head of classes, answers its own. An answer has the same bits whatever other questions are
// asked with it, in whatever order, and whatever adapters are held. It may be asked by one goroutine at a time.
type Many struct {
	dir, storage string
	most         int
	find         func(name string) (folder string, err error)
	ends         tokenize.Ends

	base *Base
	all  *Model // over the base, with the set of those that can be mixed
	bare *guest // the base alone
	held []*guest
	made int
}

// guest is an adapter that is held.
type guest struct {
	name   string
	member string // its name in the set; "" for one that answers by itself
	// model knows its texts: its tokenizer, and what ends them. Of one that answers by itself it is what answers.
	model *Model
	stop  []int32
	dir   string // its folder, or the base's
}

// Question is a text for a model with an adapter: "" or [peft.BaseName] for the base alone.
type Question struct {
	Adapter, Text string
	Draw          uint64 // the number of its random numbers, where tokens are drawn
}

// Refusal says why a question has no answer.
type Refusal struct {
	Reason string // one of the Refused constants
	Detail string // in words
}

// The reasons of refusals.
const (
	RefusedEmpty      = "empty_text"
	RefusedUTF8       = "invalid_utf8"
	RefusedUnknown    = "unknown_adapter"
	RefusedLong       = "too_long"       // for the model's positions
	RefusedClasses    = "has_classes"    // of text, asked of a classifier
	RefusedNoClasses  = "has_no_classes" // of a class, asked of a language model
	defaultMost       = 64
	passTokens        = 1024 // of texts that share a pass
	continuationCache = sampleCache
)

// HoldMany holds the base model in the folder dir, stored as in [Open], for questions of adapters, of which most are held at a time (64
// where it is 0). find gives the folder of an adapter by its name, "" where there is none. ends say what stands around a text.
func HoldMany(dir, storage string, ends tokenize.Ends, most int, find func(name string) (folder string, err error)) (_ *Many, err error) {
	x := &Many{dir: dir, storage: storage, most: most, find: find, ends: ends}
	if x.most <= 0 {
		x.most = defaultMost
	}
	if x.base, err = Hold(dir, storage); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			x.Close()
		}
	}()
	if x.all, err = x.base.WithNamed(); err != nil {
		return nil, err
	}
	x.all.Ends = ends
	x.bare, err = x.guest("", "", &Model{Dir: dir, Base: x.base.Model, tokens: x.base.Tokenizer}, dir)
	return x, err
}

// Close gives up the base and all that is held.
func (x *Many) Close() error {
	for len(x.held) > 0 {
		x.drop(0)
	}
	if x.all != nil {
		_ = x.all.Close()
	}
	return x.base.Close()
}

// Held are the names of the adapters that are held, the longest unused first.
func (x *Many) Held() (names []string) {
	for _, g := range x.held {
		names = append(names, g.name)
	}
	return names
}

// guest opens what is of texts.
func (x *Many) guest(name, member string, m *Model, dir string) (_ *guest, err error) {
	m.Ends = x.ends
	if m.tokens == x.all.tokens {
		if m.Tokenizer, m.Frame, err = x.all.Text(); err != nil {
			return nil, err
		}
	}
	stop, err := m.Stops()
	if err != nil {
		return nil, err
	}
	slices.Sort(stop)
	return &guest{name, member, m, stop, dir}, nil
}

// open opens the adapter in a folder.
func (x *Many) open(name, folder string) (*guest, error) {
	task, err := taskOf([]string{folder})
	if err != nil {
		return nil, err
	}
	if task, err = train.WithEmbeddings(x.dir, task, folder); err != nil {
		return nil, err
	}
	if task != (model.Task{}) { // over a base that has its head or its embeddings
		m, err := x.apart(folder)
		if err != nil {
			return nil, err
		}
		return x.alone(name, m, folder)
	}
	a, err := train.OpenAdapter(x.base.Model, folder, "", nil, x.dir, 0)
	if err != nil {
		return nil, err
	}
	if !a.Mixable() {
		return x.alone(name, x.base.over(a, folder), folder)
	}
	x.made++
	member := fmt.Sprintf("a%d", x.made)
	g, err := x.guest(name, member, &Model{Dir: x.dir, Base: x.base.Model, tokens: TokenizerOf(x.dir, folder), Framed: true}, folder)
	if err != nil {
		return nil, err
	}
	return g, x.all.set.Add(member, a)
}

func (x *Many) apart(folder string) (*Model, error) {
	b, err := Hold(x.dir, x.storage, folder)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.With(folder)
}

func (x *Many) alone(name string, m *Model, folder string) (*guest, error) {
	g, err := x.guest(name, "", m, folder)
	if err != nil {
		_ = m.Close()
	}
	return g, err
}

// drop gives up the i'th adapter that is held.
func (x *Many) drop(i int) {
	g := x.held[i]
	x.held = slices.Delete(x.held, i, i+1)
	if g.member == "" {
		_ = g.model.Close()
		return
	}
	x.all.set.Remove(g.member, x.all.Params)
}

// take holds the adapters that are named, no more than x.most, and gives them by name.
func (x *Many) take(names []string, folders map[string]string) (map[string]*guest, error) {
	out := map[string]*guest{}
	for _, name := range names {
		i := slices.IndexFunc(x.held, func(g *guest) bool { return g.name == name })
		if i >= 0 {
			g := x.held[i]
			x.held = append(slices.Delete(x.held, i, i+1), g)
			out[name] = g
		}
	}
	for _, name := range names {
		if out[name] != nil {
			continue
		}
		for len(x.held) >= x.most {
			x.drop(slices.IndexFunc(x.held, func(g *guest) bool { return out[g.name] == nil }))
		}
		g, err := x.open(name, folders[name])
		if err != nil {
			return nil, fmt.Errorf("the adapter %q in %s: %w", name, folders[name], err)
		}
		x.held = append(x.held, g)
		out[name] = g
	}
	return out, nil
}

// asked are questions that are answered together.
type asked struct {
	m     *Model // what programs are compiled with
	at    []int  // which of the questions they are
	ids   [][]int32
	of    []*guest
	slots []int // of each; nil where one adapter answers for itself, or the base
	stop  []int32
}

// kind is what is asked.
type kind struct {
	ids   func(m *Model, text string) ([]int32, error)
	room  int // positions that must be left
	takes func(g *guest) *Refusal
}

func prompted(m *Model, text string) ([]int32, error) { return m.Prompt(text) }

func classed(m *Model, text string) ([]int32, error) {
	_, f, err := m.Text()
	if err != nil {
		return nil, err
	}
	e, err := f.Class(text)
	if err != nil {
		return nil, err
	}
	return e.IDs, nil
}

func classifies(g *guest) bool { return g.model.Base.Config.Task == "SEQ_CLS" }

func (g *guest) called() string {
	if g.name == "" {
		return "the base model"
	}
	return fmt.Sprintf("the adapter %q", g.name)
}

func noClassifier(g *guest) *Refusal {
	if classifies(g) {
		return &Refusal{RefusedClasses, g.called() + " classifies texts: it has no words to answer with"}
	}
	return nil
}

// each has do answer the questions, those together that can be, and gives the refusals of the others, nil for those that are answered.
func (x *Many) each(ctx context.Context, qs []Question, k kind, do func(*asked) error) ([]*Refusal, error) {
	refused := make([]*Refusal, len(qs))
	rows, folders := map[string][]int{}, map[string]string{}
	for i, q := range qs {
		switch {
		case q.Text == "":
			refused[i] = &Refusal{RefusedEmpty, "the text is empty"}
			continue
		case !utf8.ValidString(q.Text):
			refused[i] = &Refusal{RefusedUTF8, "the text is not valid UTF-8"}
			continue
		}
		name := q.Adapter
		if name == peft.BaseName {
			name = ""
		}
		if _, ok := folders[name]; !ok && name != "" {
			folder, err := x.find(name)
			if err != nil {
				return nil, err
			}
			folders[name] = folder
		}
		if name != "" && folders[name] == "" {
			refused[i] = &Refusal{RefusedUnknown, fmt.Sprintf("no adapter is called %q", name)}
			continue
		}
		rows[name] = append(rows[name], i)
	}
	if at := rows[""]; len(at) > 0 {
		if err := x.answer(ctx, qs, k, refused, rows, []*guest{x.bare}, do); err != nil {
			return nil, err
		}
	}
	delete(rows, "")
	for names := x.order(rows); len(names) > 0; {
		n := min(x.most, len(names))
		held, err := x.take(names[:n], folders)
		if err != nil {
			return nil, err
		}
		var guests []*guest
		for _, name := range names[:n] {
			guests = append(guests, held[name])
		}
		if err := x.answer(ctx, qs, k, refused, rows, guests, do); err != nil {
			return nil, err
		}
		names = names[n:]
	}
	return refused, nil
}

// order are the names of rows, those first that are held, each part sorted.
func (x *Many) order(rows map[string][]int) (names []string) {
	held := map[string]bool{}
	for _, g := range x.held {
		held[g.name] = true
	}
	for name := range rows {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if held[a] != held[b] {
			return map[bool]int{true: -1, false: 1}[held[a]]
		}
		return strings.Compare(a, b)
	})
	return names
}

// answer has do answer the questions of guests that are held.
func (x *Many) answer(ctx context.Context, qs []Question, k kind, refused []*Refusal, rows map[string][]int, guests []*guest,
	do func(*asked) error) error {
	var parts []*asked
	mixed := map[string]*asked{} // by what ends their texts
	members := map[*asked][]string{}
	for _, g := range guests {
		if r := k.refuses(g); r != nil {
			for _, i := range rows[g.name] {
				refused[i] = r
			}
			continue
		}
		var p *asked
		slot := 0
		if g.member == "" {
			p = &asked{m: g.model, stop: g.stop}
			if g == x.bare {
				p.m = x.with()
			}
			parts = append(parts, p)
		} else {
			key := fmt.Sprint(g.stop)
			if p = mixed[key]; p == nil {
				p = &asked{stop: g.stop}
				mixed[key] = p
				parts = append(parts, p)
			}
			members[p] = append(members[p], g.member)
			var err error
			if slot, err = x.all.set.Select(g.member); err != nil {
				return err
			}
		}
		if err := p.add(g, qs, rows[g.name], k, refused, slot); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if len(p.at) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if p.m == nil {
			p.m = x.with(members[p]...)
		}
		if err := do(p); err != nil {
			return err
		}
	}
	return nil
}

func (k *kind) refuses(g *guest) *Refusal {
	if k.takes == nil {
		return nil
	}
	return k.takes(g)
}

// with is the model with some of the adapters that can be mixed; the base alone without any.
func (x *Many) with(members ...string) *Model {
	m := *x.all
	m.over, m.slot, m.Adapters = nil, 0, nil
	if len(members) > 0 {
		m.Adapters = x.all.set.Adapters(members...)
	}
	return &m
}

// add adds a guest's questions that fit into the model.
func (p *asked) add(g *guest, qs []Question, rows []int, k kind, refused []*Refusal, slot int) error {
	for _, i := range rows {
		ids, err := k.ids(g.model, qs[i].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", g.called(), err)
		}
		most := g.model.Positions() - k.room
		switch {
		case len(ids) == 0:
			refused[i] = &Refusal{RefusedEmpty, "the text has no tokens"}
			continue
		case len(ids) > most:
			refused[i] = &Refusal{RefusedLong, fmt.Sprintf("the text has %d tokens, and the model takes %d", len(ids), most)}
			continue
		}
		for _, id := range ids {
			if id < 0 || int(id) >= g.model.Base.Config.Vocab {
				return fmt.Errorf("%s: a text has the token id %d, but the model's vocabulary is %d: its tokenizer is another model's",
					g.called(), id, g.model.Base.Config.Vocab)
			}
		}
		p.at, p.ids, p.of = append(p.at, i), append(p.ids, ids), append(p.of, g)
		if g.member != "" {
			p.slots = append(p.slots, slot)
		}
	}
	return nil
}
