package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// A record is one link of the chain:
//
//	version (1) || kind (1) || hash of the record before (32) || body (JSON)
//	hash = SHA-256(version || hash before || number, 8 bytes big-endian || kind || body)
//
// Entries and seals (signatures) share the one sequence of records, so that
// removing or altering either breaks the chain. The first record follows the
// hash of the meta data; the hash of the last stands in the meta bucket, so
// that a lost tail shows. The chain finds damage; it does not authenticate: who
// can write the file can write another chain.

const (
	// schema is of the file: buckets, meta and the newest records that may be in
	// it. 1: up to version 1. 2: up to version 2. A file keeps the one it was made
	// with, and either is read; it says which sidecars are too old.
	schema     = 2
	recordHead = 1 + 1 + 32
)

// The versions of a record. Each is written only where it is needed.
const (
	recordPlain = 1
	recordProxy = 2 // an entry with a delegate, or a seal with a proxy's signature
)

// version is of the entry's record.
func (e *Entry) version() byte {
	if e.Delegate.IsZero() {
		return recordPlain
	}
	return recordProxy
}

// version is of the seal's record.
func (i *Ink) version() byte {
	if i.Proxy.IsZero() {
		return recordPlain
	}
	return recordProxy
}

// recordKind is on disk: append only.
type recordKind uint8

const (
	recordEntry recordKind = 1
	recordSeal  recordKind = 2
)

// meta says whose ledger this is. It is hashed into the chain.
type meta struct {
	Schema      int      `json:"schema"`
	Network     string   `json:"network"`
	ForkVersion hexBytes `json:"genesis_fork_version"`
	Instance    hexBytes `json:"instance"`           // 16 random bytes, made with the file
	Created     int64    `json:"created,omitempty"`  // Unix seconds; 0 in files of before there were holds
	NewKeys     bool     `json:"new_keys,omitempty"` // the operator stated that the keys were new
}

func (m meta) hash() ([32]byte, error) {
	b, err := encodeBody(m)
	return sha256.Sum256(append([]byte("sidecar ledger\n"), b...)), err
}

// first is the end of the empty chain.
func (m meta) first() (h head, err error) {
	h.Hash, err = m.hash()
	return h, err
}

// head is the end of the chain.
type head struct {
	Records uint64 // number of the last record, from 1
	Entries uint64 // number of the last entry, from 1
	Hash    [32]byte
}

func (h head) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, h.Records)
	b = binary.BigEndian.AppendUint64(b, h.Entries)
	return append(b, h.Hash[:]...)
}

func parseHead(b []byte) (h head, err error) {
	if len(b) != 48 {
		return h, fmt.Errorf("head of %d bytes", len(b))
	}
	h.Records, h.Entries = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(h.Hash[:], b[16:])
	return h, nil
}

// link makes the record that follows h, and the head after it.
func (h head) link(version byte, kind recordKind, body []byte) ([]byte, head) {
	record := make([]byte, 0, recordHead+len(body))
	record = append(record, version, byte(kind))
	record = append(record, h.Hash[:]...)
	record = append(record, body...)
	next := head{Records: h.Records + 1, Entries: h.Entries}
	if kind == recordEntry {
		next.Entries++
	}
	next.Hash = recordHash(next.Records, record)
	return record, next
}

// recordHash hashes a record that is at least recordHead long.
func recordHash(number uint64, record []byte) (sum [32]byte) {
	d := sha256.New()
	d.Write(record[:1])
	d.Write(record[2:recordHead])
	d.Write(binary.BigEndian.AppendUint64(nil, number))
	d.Write(record[1:2])
	d.Write(record[recordHead:])
	d.Sum(sum[:0])
	return sum
}

// Record is one link of the chain, decoded: an entry, or the seal of one.
type Record struct {
	Number uint64                     // counts records, from 1
	Seq    uint64                     // the entry it is or seals
	Page   commitments.PageID         // of an entry
	Entry  *Entry                     // nil in a seal
	Seal   []byte                     // the signature; nil in an entry
	Proxy  commitments.ProxySignature // beside Seal, if there is one
	Hash   [32]byte                   // of this record
}

// next checks that a record follows h, and decodes it.
func (h head) next(record []byte) (Record, head, error) {
	if len(record) < recordHead || len(record) > recordHead+maxBody {
		return Record{}, h, fmt.Errorf("record of %d bytes", len(record))
	}
	if record[0] > recordProxy {
		return Record{}, h, ErrNewer.With("record version %d, this sidecar reads up to %d", record[0], recordProxy)
	}
	if [32]byte(record[2:recordHead]) != h.Hash {
		return Record{}, h, errors.New("the record before is not the one it was")
	}
	n := head{Records: h.Records + 1, Entries: h.Entries}
	n.Hash = recordHash(n.Records, record)
	r := Record{Number: n.Records, Hash: n.Hash}
	switch recordKind(record[1]) {
	case recordEntry:
		seq, id, e, err := decodeEntry(record[recordHead:])
		if err != nil {
			return r, h, err
		}
		if n.Entries++; seq != n.Entries {
			return r, h, fmt.Errorf("entry %d where %d is due", seq, n.Entries)
		}
		if e.version() != record[0] {
			return r, h, fmt.Errorf("an entry in a record of version %d", record[0])
		}
		r.Seq, r.Page, r.Entry = seq, id, &e
	case recordSeal:
		var b sealBody
		if err := decodeBody(record[recordHead:], &b); err != nil {
			return r, h, err
		}
		if b.Seq == 0 || b.Seq > h.Entries || len(b.Signature) == 0 || len(b.Signature) > maxSignature {
			return r, h, errors.New("a seal of nothing")
		}
		ink, err := b.ink()
		if err == nil && ink.version() != record[0] {
			err = fmt.Errorf("a seal in a record of version %d", record[0])
		}
		if err != nil {
			return r, h, err
		}
		r.Seq, r.Seal, r.Proxy = b.Seq, ink.Signature, ink.Proxy
	default:
		return r, h, fmt.Errorf("record kind %d", record[1])
	}
	return r, n, nil
}

// Summary describes a verified ledger.
type Summary struct {
	Network            string
	GenesisForkVersion phase0.Version
	Instance           string // 32 hex characters
	Records            uint64
	Entries            uint64
	Seals              uint64
	Newest             phase0.Slot // of any entry
	Head               [32]byte    // hash of the last record
	Created            time.Time   // zero if the ledger does not say
	NewKeys            bool        // the operator stated so when the ledger was made
}

// end is the head of what was verified.
func (s Summary) end() head { return head{s.Records, s.Entries, s.Head} }

func (m meta) summary() Summary {
	s := Summary{Network: m.Network, Instance: hex.EncodeToString(m.Instance), NewKeys: m.NewKeys}
	if m.Created > 0 {
		s.Created = time.Unix(m.Created, 0)
	}
	copy(s.GenesisForkVersion[:], m.ForkVersion)
	return s
}

// instance is the ledger's 16 bytes.
func (s Summary) instance() []byte {
	b, _ := hex.DecodeString(s.Instance) // made by summary
	return b
}
