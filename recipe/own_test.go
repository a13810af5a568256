package recipe

import (
	"bytes"
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/peft"
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
