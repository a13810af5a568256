package settings

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	Rate  float64   `yaml:"rate" bounds:"[0,1)" help:"a rate"`
	Steps int       `yaml:"steps" bounds:"[1,1000000000]" or:"-1" unset:"true"`
	Name  string    `yaml:"name"`
	Rates []float64 `yaml:"rates" bounds:"(0,)"`
	Own   int       `yaml:"-"`
}

func (*inner) Choices() map[string][]string { return map[string][]string{"name": {"a", "b"}} }

type outer struct {
	inner `yaml:",inline"`
	Seed  uint64         `yaml:"seed"`
	Count int            `yaml:"count" bounds:"[0,)"`
	Scale float64        `yaml:"scale" bounds:"(0,1]" alias:"factor"`
	Free  map[string]any `yaml:"free"`
	Mode  string         `yaml:"mode" enum:",x"`
}

func good() outer {
	return outer{inner: inner{Steps: -1, Name: "a"}, Seed: math.MaxUint64, Scale: 1}
}

func TestFields(t *testing.T) {
	var names []string
	for _, f := range Of(reflect.TypeFor[outer]()) {
		names = append(names, f.Name+" "+f.Type)
	}
	want := "rate number, steps integer, name string, rates list, seed integer, count integer, scale number, free object, mode string"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for i, want := range map[int]string{0: "at least 0 and below 1", 1: "between 1 and 1000000000, or -1", 3: "above 0", 4: "",
		5: "0 or more", 6: "above 0 and at most 1"} {
		if got := Of(reflect.TypeFor[outer]())[i].Bounds.Text(); got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(good()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*outer){
		"rate is 1; it must be at least 0 and below 1":          func(o *outer) { o.Rate = 1 },
		"rate is NaN; it must be a finite number":               func(o *outer) { o.Rate = math.NaN() },
		"scale is +Inf; it must be a finite number":             func(o *outer) { o.Scale = math.Inf(1) },
		"scale is 0; it must be above 0 and at most 1":          func(o *outer) { o.Scale = 0 },
		"steps is 0; it must be at least 1, or -1":              func(o *outer) { o.Steps = 0 },
		"steps is -2; it must be at least 1, or -1":             func(o *outer) { o.Steps = -2 },
		"steps is 2000000000; it must be at most 1000000000, o": func(o *outer) { o.Steps = 2e9 },
		"count is -1; it must not be negative":                  func(o *outer) { o.Count = -1 },
		"count is 2147483648; it must be at most 2147483647":    func(o *outer) { o.Count = 1 << 31 },
		`name is "c"; it must be one of a, b`:                   func(o *outer) { o.Name = "c" },
		`mode is "y"; it must be one of , x`:                    func(o *outer) { o.Mode = "y" },
		"rates[1] is 0; it must be above 0":                     func(o *outer) { o.Rates = []float64{1, 0} },
		"free.a[0] is NaN; it must be a finite number":          func(o *outer) { o.Free = map[string]any{"a": []any{math.NaN()}} },
	} {
		o := good()
		change(&o)
		if err := Check(&o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	o := good()
	o.Steps = 0
	if err := CheckSet(&o); err != nil {
		t.Errorf("a setting that is not made: %v", err)
	}
	if err := In("train", Wrong(&o, "count", "needs more")); err.Error() != "train.count is 0; it needs more" {
		t.Error(err)
	}
}

// A tag that says nothing sensible is a fault of the program.
func TestTags(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[struct {
			A int `yaml:"a" bounds:"1"`
		}](),
		reflect.TypeFor[struct {
			A int `yaml:"a" bounds:"[x,2]"`
		}](),
		reflect.TypeFor[struct{ A int }](),
		reflect.TypeFor[struct {
			A chan int `yaml:"a"`
		}](),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", typ)
				}
			}()
			Of(typ)
		}()
	}
}
