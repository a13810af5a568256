package bench

import (
	"context"
	"testing"
)

// Keys in a group get the losses that each gets alone, at every step, whatever the number of tokens and keys.
func TestBenchKeysTrainsBothSidesAlike(t *testing.T) {
	var told []KeysRow
	r, err := Keys(context.Background(), KeysConfig{Tokens: []int{3, 40}, GroupTokens: 90, GroupKeys: 8, Rank: 2,
		Targets: []string{"q_proj", "down_proj"}, Steps: 3, Repeat: 1},
		func(row KeysRow) { told = append(told, row) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || len(r.Rows) != 2 || r.Rows[0].Keys != 8 || r.Rows[1].Keys != 2 || r.Trainable == 0 {
		t.Fatalf("%+v", *r)
	}
	for _, row := range r.Rows {
		if row.Difference > 1e-5 || row.Group <= 0 || row.Alone <= 0 || row.GroupCPU <= 0 || row.AloneCPU <= 0 {
			t.Errorf("%+v", row)
		}
	}
	for _, c := range []KeysConfig{{Tokens: []int{1}, GroupTokens: 8, GroupKeys: 1, Steps: 1, Repeat: 1},
		{Tokens: []int{8}, GroupTokens: 8, GroupKeys: 1, Steps: 1}} {
		if _, err := Keys(context.Background(), c, nil); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
