package storage

import (
	"encoding/json"
	"math"
	"testing"
)

// TestMarshalJSON: what is not a number is null wherever it stands, what is one is as encoding/json has it, and the value itself stays.
func TestMarshalJSON(t *testing.T) {
	type inner struct {
		A float64
		B []float32 `json:"b,omitempty"`
		c float64
	}
	x := struct {
		P    *inner
		M    map[string]any
		L    [2]float64
		F    float32
		Nil  *inner
		Text string
	}{&inner{math.NaN(), []float32{1, float32(math.Inf(1))}, 3},
		map[string]any{"x": math.Inf(-1), "y": 2.5, "z": []any{math.NaN(), "s", nil}}, [2]float64{math.NaN(), 1},
		float32(math.NaN()), nil, "NaN"}
	b, err := MarshalJSON(&x, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"P":{"A":null,"b":[1,null]},"M":{"x":null,"y":2.5,"z":[null,"s",null]},"L":[null,1],"F":null,"Nil":null,"Text":"NaN"}`; string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
	if !math.IsNaN(x.P.A) || x.P.c != 3 {
		t.Error("the value was changed")
	}
	y := map[string]any{"a": 1.5, "b": []int{1}}
	want, _ := json.MarshalIndent(y, "", " ")
	if got, err := MarshalJSON(y, " "); err != nil || string(got) != string(want) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := MarshalJSON(make(chan int), ""); err == nil {
		t.Error("a channel was written")
	}
}
