// Package pefttest makes adapters for tests.
package pefttest

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Save saves a new adapter of a method over sites in the folder to. Its values are moved by a seed, so that it says something of its own.
func Save(t testing.TB, to, method string, config map[string]any, sites []nn.Site, env peft.Env, seed int) {
	t.Helper()
	env.Seed = uint64(seed)
	a, err := peft.New(method, config, sites, env)
	if err != nil {
		t.Fatal(err)
	}
	params, err := a.NewParams(1)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Free()
	if err := a.Initial(params, 0); err != nil {
		t.Fatal(err)
	}
	for _, q := range params.List() {
		for i := range q.Data {
			q.Data[i] += 0.1 * float32(math.Sin(float64((i+1)*seed)))
		}
	}
	if err := a.Save(to, params, 0, peft.Card{}); err != nil {
		t.Fatal(err)
	}
}
