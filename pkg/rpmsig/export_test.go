package rpmsig

// VerifyRSA is the arithmetic alone; a signature that does not fit gives
// ErrBad.
var VerifyRSA = verifyRSA

// ErrBad is errBad.
var ErrBad = errBad
