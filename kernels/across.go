package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// Products of a few rows with a matrix whose columns lie one after the other, as the factors of adapters do: one token of a few texts, of
// which each adapter has some. Packing the matrix would take longer than the product, so that its columns are read once, where they lie,
// and turned in registers.

const (
	acrossRows  = 16      // rows of such a product, at most
	acrossAhead = 512     // bytes of a long column that are called for before they are needed
	acrossPart  = 1 << 15 // values of a thread's part of the matrix, at least
)

// acrossFunc computes rows×(n·lanes) of C, n blocks of as many columns as a vector has lanes:
//
//	C[i,j] = (add ? C[i,j] : 0) + alpha · Σ_q A[i,q]·B[q,j]
//
// with A[i,q] = a[i*ars+q] and B[q,j] = b[j*bcs+q], the sum in order of q from zero, as a tileFunc has it. ahead is how many bytes beyond
// what is read of a column are called for.
type acrossFunc func(n, k int, a *float32, ars int, b *float32, bcs int, c *float32, ldc int, alpha float32, add, ahead int)

// across says whether the job is such a product, and computes it.
func (j *job) across(p *pool.Pool) bool {
	if j.source != fromStrided || j.brs != 1 || j.acs != 1 || j.m > acrossRows || j.n%acrossLeast != 0 || acrossOf(acrossLeast) == nil {
		return false
	}
	_, _, _ = j.a[(j.m-1)*j.ars+j.k-1], j.b[(j.n-1)*j.bcs+j.k-1], j.c[(j.m-1)*j.ldc+j.n-1]
	j.group = j.n
	if parts := min(p.Threads(), j.n*j.k/acrossPart); parts > 1 {
		j.group = (j.n/acrossLeast + parts - 1) / parts * acrossLeast
		if j.group > 2*acrossLeast {
			j.group = (j.group + 2*acrossLeast - 1) / (2 * acrossLeast) * 2 * acrossLeast
		}
	}
	if units := (j.n + j.group - 1) / j.group; units > 1 {
		p.Run(units, j.acrossF)
	} else {
		j.acrossUnit(0)
	}
	return true
}

// acrossUnit computes all rows of a group of columns, as wide a block as there is at a time.
func (j *job) acrossUnit(u int) {
	lo := u * j.group
	hi := min(lo+j.group, j.n)
	if f := acrossOf(acrossWide); f != nil && hi-lo >= acrossWide {
		n := (hi - lo) / acrossWide
		j.acrossColumns(f, acrossWide, lo, n)
		lo += n * acrossWide
	}
	if lo < hi {
		j.acrossColumns(acrossOf(acrossLeast), acrossLeast, lo, (hi-lo)/acrossLeast)
	}
}

// acrossColumns computes n blocks of columns from column col on.
func (j *job) acrossColumns(f []acrossFunc, wide, col, n int) {
	ahead := acrossAhead
	if j.k <= 2*wide { // a column is so short that others follow soon
		ahead = 4 * 4 * wide * j.bcs
	}
	for k0 := 0; k0 < j.k; k0 += j.kc {
		k, add := min(j.kc, j.k-k0), flag(j.add || k0 > 0)
		for i, rows := 0, 0; i < j.m; i += rows {
			rows = min(len(f), j.m-i)
			f[rows-1](n, k, &j.a[i*j.ars+k0], j.ars, &j.b[col*j.bcs+k0], j.bcs, &j.c[i*j.ldc+col], j.ldc, j.alpha, add, ahead)
		}
	}
}
