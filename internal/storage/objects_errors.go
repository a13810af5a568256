package storage

import "io/fs"

// What errors of stores are. Their texts say what to do; errors.Is finds them.
var (
	// ErrExists is of a write-once object that exists already with another content.
	ErrExists error = &kind{"it exists already", fs.ErrExist}
	// ErrChanged is of an object whose version is not the one that was expected.
	ErrChanged error = &kind{"it was changed meanwhile", nil}
	// ErrThrottled is of a store that still refused requests for their number when the time for trying again was over.
	ErrThrottled error = &kind{"the store refuses requests for their number", nil}
	// ErrUnavailable is of a store that still failed, or did not answer, when the time for trying again was over.
	ErrUnavailable error = &kind{"the store fails", nil}
	// ErrForbidden is of credentials that lack a right.
	ErrForbidden error = &kind{"the credentials do not allow it", fs.ErrPermission}
	// ErrCredentials is of credentials that have run out or that the store does not know.
	ErrCredentials error = &kind{"the credentials are refused", nil}
	// ErrNoBucket is of a bucket that does not exist.
	ErrNoBucket error = &kind{"there is no such bucket", nil}
	// ErrLeaseLost is of a lease that another one may hold by now.
	ErrLeaseLost error = &kind{"the lease was lost", nil}
	// ErrDamaged is of a set of objects of which one is missing or altered.
	ErrDamaged error = &kind{"it is damaged", nil}
)

// kind is what an error is, and of which more general one it is a case.
type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }

func (k *kind) Unwrap() error { return k.of }

// AsKind makes err one of the kinds above without changing its text.
func AsKind(err, is error) error { return &kinded{err, is} }

type kinded struct {
	error
	is error
}

func (k *kinded) Unwrap() []error { return []error{k.error, k.is} }
