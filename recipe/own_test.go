package recipe

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// ownRule is a rule as a program of another module writes it.
type ownRule struct {
	Most int `json:"most" yaml:"most" help:"how much is enough"`
}

func (*ownRule) Name() string                     { return "own_rule" }
func (*ownRule) Prepare() error                   { return nil }
func (*ownRule) Apply(d *rules.Doc) rules.Verdict { return rules.Verdict{Keep: true, Text: d.Text} }

// ownMethod is LoRA by another name.
type ownMethod struct{ peft.Method }

func (ownMethod) Type() string { return "OWN_METHOD" }

// TestOwnRows: a recipe takes the method and the rule that a program has registered, lists their keys, and has them in its schema.
func TestOwnRows(t *testing.T) {
	text := "model:\n  path: m\ndata:\n  input: [a]\nprepare:\n  clean:\n    - rule: own_rule\n      most: 3\n" +
		"method:\n  peft_type: own_method\n  r: 4\n"
	read := func() error {
		_, err := Resolve(layer(t, text))
		return err
	}
	if read() == nil {
		t.Fatal("a recipe is taken whose rule and method nobody has registered")
	}
	methods, table := peft.Methods, rules.Table
	defer func() { peft.Methods, rules.Table = methods, table }()
	peft.Register(peft.Row{Type: "OWN_METHOD", New: func() peft.Method { return ownMethod{methods[0].New()} }})
	if read() == nil {
		t.Error("a recipe is taken whose rule nobody has registered")
	}
	rules.Register(rules.Entry{Name: "own_rule", New: func() rules.Rule { return &ownRule{Most: 7} }})
	if err := read(); err != nil {
		t.Error(err)
	}
	found, err := Matching("prepare.clean.own_rule")
	if err != nil || len(found) != 1 || found[0].Help != "how much is enough" || found[0].Default != 7 {
		t.Errorf("%+v, %v", found, err)
	}
	for _, name := range []string{`"OWN_METHOD"`, `"own_rule"`} {
		if !bytes.Contains(Schema(), []byte(name)) {
			t.Errorf("the schema does not have %s", name)
		}
	}
}

// ownGoal is plain language modelling by another name, with a setting.
type ownGoal struct {
	train.SFT
	Gamma float64 `json:"gamma" help:"how steep it is"`
}

// ownSettings are those of a measure and of a format.
type ownSettings struct {
	Most int `yaml:"most" json:"most" bounds:"[1,9]" help:"how much is enough"`
}

// TestOwnLists: a recipe takes the objective, the measure and the format that a program has registered, with their settings; it lists their
// keys, and its schema takes what the recipe takes.
func TestOwnLists(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\n")
	const text = "train:\n  objective: own_goal\n  objective_args: {gamma: 2}\nevaluate:\n  measures: [plain, {name: own, most: 4}]\n" +
		"export:\n  formats: [own]\n"
	for _, c := range []struct{ text, want string }{
		{"train:\n  objective: own_goal\n", `train.objective is "own_goal"; it must be empty or one of dpo, kto, cpo, orpo, reward, grpo, rloo`},
		{"evaluate:\n  measures: [own]\n", `evaluate.measures[0]: the measure "own" is unknown`},
		{"export:\n  formats: [own]\n", `export.formats[0]: the format "own" is unknown`},
	} {
		if _, err := Resolve(base, layer(t, c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
		if compiled(t).Validate(asJSON(t, c.text)) == nil {
			t.Errorf("the schema takes %s", c.text)
		}
	}
	plain, err := Resolve(base)
	if err != nil {
		t.Fatal(err)
	}
	objectives, measures, formats := train.Objectives, measure.Measures, export.Formats
	defer func() { train.Objectives, measure.Measures, export.Formats = objectives, measures, formats }()
	train.RegisterObjective(train.ObjectiveRow{Name: "own_goal", New: func() train.Objective { return &ownGoal{Gamma: 1} }})
	run := func(context.Context, *measure.Input, *measure.Results) error { return nil }
	columns := []measure.Column{{Name: "n"}}
	settings := func() any { return &ownSettings{Most: 3} }
	measure.Register(measure.Measure{Name: "own", Doc: "x", Columns: columns, Run: run, Settings: settings})
	measure.Register(measure.Measure{Name: "plain", Doc: "x", Columns: columns, Run: run})
	export.Register(export.Format{Name: "own", Folder: "own", Doc: "x", Settings: settings,
		Write: func(*export.Source, *export.Config, string) error { return nil }})

	r, err := Resolve(base, layer(t, text))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Resolve(layer(t, string(r.YAML())))
	if err != nil || again.Hash() != r.Hash() || again.Train.ObjectiveArgs["gamma"] == nil || !again.Export.Formats.Has("own") ||
		!again.Evaluate.Measures.Has("plain") || r.Hash() == plain.Hash() {
		t.Errorf("what is written reads as %+v, %v", again, err)
	}
	for _, c := range [][2]string{{"train.objective", "own_goal"}, {"evaluate.measures", "own,plain"},
		{"export.formats", "[{name: own, most: 2}]"}} {
		l, err := Set(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		set, err := Resolve(base, l)
		if err != nil || set.Hash() == plain.Hash() {
			t.Errorf("--set %s=%s: %v", c[0], c[1], err)
		}
	}
	for _, path := range []string{"train.objective_args.own_goal.gamma", "evaluate.measures.own.most", "export.formats.own.most"} {
		keys, err := Matching(path)
		if err != nil || len(keys) != 1 || keys[0].Help == "" || keys[0].Default == nil {
			t.Errorf("%s: %+v, %v", path, keys, err)
		}
	}
	s := compiled(t)
	for _, taken := range []string{text, string(r.YAML())} {
		if err := s.Validate(asJSON(t, taken)); err != nil {
			t.Errorf("the schema refuses\n%s%v", taken, err)
		}
	}
	for _, c := range []struct{ text, at, want string }{
		{"train:\n  objective: own\n", "/train/objective",
			`train.objective is "own"; it must be empty or one of dpo, kto, cpo, orpo, reward, grpo, rloo, online_dpo, gkd, own_goal`},
		{"train:\n  objective: sft\n", "/train/objective",
			`train.objective is "sft"; it must be empty or one of dpo, kto, cpo, orpo, reward, grpo, rloo, online_dpo, gkd, own_goal`},
		{"train:\n  objective: own_goal\n  objective_args: {gama: 1}\n", "/train/objective_args",
			`train.objective_args: the settings of the objective own_goal: json: unknown field "gama"`},
		{"train:\n  objective_args: {gamma: 1}\n", "", "train.objective_args: they are the settings of an objective"},
		{"train:\n  objective: own_goal\n  teacher_model_name_or_path: [x]\n", "", "train.objective is own_goal; it must be empty where"},
		{"evaluate:\n  measures: [{name: own, most: 0}]\n", "/evaluate/measures/0", "evaluate.measures[0]: own.most is 0"},
		{"evaluate:\n  measures: [{name: plain, most: 1}]\n", "/evaluate/measures/0",
			`evaluate.measures[0]: plain: unknown key "most"; it has no settings`},
		{"evaluate:\n  measures: [plain]\ndata:\n  key_column: k\n", "", "evaluate.measures is [map[name:plain]]; it must be empty in"},
		{"export:\n  formats: [own]\ncompare:\n  methods: [LORA]\n", "", "export.formats is [map[name:own]]; it must be empty in"},
	} {
		if _, err := Resolve(base, layer(t, c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
		if err := s.Validate(asJSON(t, c.text)); c.at != "" && (err == nil || !strings.Contains(err.Error(), "at '"+c.at+"'")) {
			t.Errorf("%s: %v, want it at %s", c.text, err, c.at)
		}
	}
}
