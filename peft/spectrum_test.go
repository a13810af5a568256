package peft

import (
	"math"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// known is the matrix of random singular vectors and the singular values s.
func known(rows, columns int, s []float64) []float64 {
	basis := func(name string, n int) []float32 {
		x := make([]float32, n*len(s))
		philox.NewKey(7, "spectrum", name).FillNormal(x, 0, 1)
		return orthonormal(x, n, len(s))
	}
	u, v, d := basis("u", rows), basis("v", columns), make([]float64, rows*columns)
	for i := range rows {
		for k, s := range s {
			b := s * float64(u[i*len(v)/columns+k])
			for j := range columns {
				d[i*columns+j] += b * float64(v[j*len(v)/columns+k])
			}
		}
	}
	return d
}

// TestSpectrum: the product of a large update, wide or tall, is the nearest of its rank, and what is lost is said; one that no product
// holds is refused.
func TestSpectrum(t *testing.T) {
	defer func(n int) { exactly = n }(exactly)
	exactly = 100
	for _, dim := range [][2]int{{240, 208}, {208, 240}} {
		rows, columns := dim[0], dim[1]
		s := make([]float64, 30)
		for i := range s {
			s[i] = math.Pow(0.7, float64(i))
		}
		d := known(rows, columns, s)
		for _, maxRank := range []int{0, 8} {
			p := Product{Module: "m", In: columns, Out: rows, Scale: 1}
			if err := p.decompose(append([]float64(nil), d...), maxRank); err != nil {
				t.Fatal(err)
			}
			left, all := 0.0, 0.0
			for i, v := range s {
				if all += v * v; i >= p.Rank {
					left += v * v
				}
			}
			want := math.Sqrt(left / all)
			off := 0.0
			for i := range rows {
				for j := range columns {
					x := d[i*columns+j]
					for k := range p.Rank {
						x -= float64(p.B[i*p.Rank+k]) * float64(p.A[k*columns+j])
					}
					off += x * x
				}
			}
			if got := math.Sqrt(off / all); math.Abs(p.Lost-want) > 1e-5 || math.Abs(got-want) > 1e-5 {
				t.Errorf("%v, at most %d: %g is missing and said to be %g, of rank %d; want %g", dim, maxRank, got, p.Lost, p.Rank, want)
			}
			if rank := map[int]int{0: 26, 8: 8}[maxRank]; p.Rank != rank {
				t.Errorf("%v, at most %d: rank %d, want %d", dim, maxRank, p.Rank, rank)
			}
		}
	}
	x := make([]float32, 206*206)
	philox.NewKey(7, "spectrum", "noise").FillNormal(x, 0, 1)
	p := Product{Module: "m", In: 206, Out: 206, Scale: 1}
	if err := p.decompose(wide(x), 0); err == nil || !strings.Contains(err.Error(), "give a largest rank (--max-rank)") {
		t.Errorf("an update of full rank: %v", err)
	}
}
