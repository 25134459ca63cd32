// Package wire holds the messages of the Builder API's hot endpoints in
// fixed-size types of our own: bids, registrations, and the few fields of a
// blinded block and of a payload that the sidecar looks at. It decodes
// strictly, keeps the bytes it was given, and hands those on whenever the
// reader wants the same encoding. Tests hold every type equal to the spec's
// types of go-eth2-client and go-builder-client.
package wire

// Encoding is how a message is written: JSON or SSZ.
type Encoding uint8

// The encodings of the Builder API.
const (
	JSON Encoding = iota
	SSZ
)

// ContentType returns the media type of e.
func (e Encoding) ContentType() string {
	if e == SSZ {
		return "application/octet-stream"
	}
	return "application/json"
}

// String is "json" or "ssz".
func (e Encoding) String() string {
	if e == SSZ {
		return "ssz"
	}
	return "json"
}
