package report

import "time"

// Delivery is how it stands with one endpoint that reports are sent to. In the
// document that is sent it is the state before the run; in the copy on the
// host, after it.
type Delivery struct {
	Endpoint    string     `json:"endpoint"` // the name in the configuration
	URL         string     `json:"url"`      // without query
	Sent        int        `json:"sent"`     // reports taken by the endpoint in the run
	Waiting     int        `json:"waiting"`  // reports in the spool
	Bytes       int64      `json:"bytes"`    // their size in the spool
	Oldest      *time.Time `json:"oldest,omitempty"`
	Refused     int        `json:"refused,omitempty"`      // of those waiting: refused by the endpoint for what they are
	Dropped     int        `json:"dropped"`                // given up so far, for age or size
	LastSuccess *time.Time `json:"last_success,omitempty"` // when the endpoint last took one
	Error       string     `json:"error,omitempty"`        // why reports wait
}
