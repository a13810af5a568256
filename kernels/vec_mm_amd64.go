//go:build !noasm

package kernels

// mmCheck panics when an operand of mm is too short, as indexing it would.
func mmCheck(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int) {
	_ = a[(m-1)*ars+(k-1)*acs]
	_ = b[(k-1)*ldb+n-1]
	_ = c[(m-1)*ldc+n-1]
}

// What the assembly does with what c holds; 0 takes no notice of it.
const (
	mmAdded   = 1 // adds it to the sums
	mmChained = 2 // begins the sums with it
)

func mmEmpty(m, n, k int, c []float32, ldc int, add int) bool {
	if m > 0 && n > 0 && k > 0 {
		return false
	}
	if add == 0 && n > 0 {
		for i := range m {
			clear(c[i*ldc:][:n])
		}
	}
	return true
}

func mul512(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	add := 0
	if acc {
		add = mmAdded
	}
	product512(m, n, k, a, ars, acs, b, ldb, c, ldc, add)
}

func chain512(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int) {
	product512(m, n, k, a, ars, acs, b, ldb, c, ldc, mmChained)
}

func product512(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, add int) {
	if mmEmpty(m, n, k, c, ldc, add) {
		return
	}
	mmCheck(m, n, k, a, ars, acs, b, ldb, c, ldc)
	for j := 0; j < n; j += 64 {
		mask := ^uint64(0)
		if n-j < 64 {
			mask = 1<<uint(n-j) - 1
		}
		if n-j <= 32 {
			mmNarrow512(m, k, &a[0], ars, acs, &b[j], ldb, &c[j], ldc, add, mask)
			return
		}
		mm512(m, k, &a[0], ars, acs, &b[j], ldb, &c[j], ldc, add, mask)
	}
}

func mul256(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	add := 0
	if acc {
		add = mmAdded
	}
	product256(m, n, k, a, ars, acs, b, ldb, c, ldc, add)
}

func chain256(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int) {
	product256(m, n, k, a, ars, acs, b, ldb, c, ldc, mmChained)
}

func product256(m, n, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int, add int) {
	if mmEmpty(m, n, k, c, ldc, add) {
		return
	}
	mmCheck(m, n, k, a, ars, acs, b, ldb, c, ldc)
	j := 0
	for ; j+16 <= n; j += 16 {
		mm256(m, k, &a[0], ars, acs, &b[j], ldb, &c[j], ldc, add)
	}
	if j == n {
		return
	}
	// The last columns, in copies sixteen wide.
	buf := scratchOf((k + m) * 16)
	bt, ct := buf.x[:k*16], buf.x[k*16:][:m*16]
	clear(bt)
	for p := range k {
		copy(bt[p*16:], b[p*ldb+j:p*ldb+n])
	}
	if add != 0 {
		for i := range m {
			copy(ct[i*16:], c[i*ldc+j:i*ldc+n])
		}
	}
	mm256(m, k, &a[0], ars, acs, &bt[0], 16, &ct[0], 16, add)
	for i := range m {
		copy(c[i*ldc+j:i*ldc+n], ct[i*16:])
	}
	scratchPool.Put(buf)
}
