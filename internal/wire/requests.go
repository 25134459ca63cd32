package wire

import "slices"

// ExecutionRequests and its three lists. [EIP-7685; consensus-specs: electra/ExecutionRequests]
var (
	requestsShape = newShape("execution_requests",
		varies("deposits"), varies("withdrawals"), varies("consolidations"))
	depositShape = newShape("deposits",
		bytesOf("pubkey", 48), bytesOf("withdrawal_credentials", 32), uint64Of("amount"),
		bytesOf("signature", 96), uint64Of("index"))
	withdrawalRequestShape = newShape("withdrawals",
		bytesOf("source_address", 20), bytesOf("validator_pubkey", 48), uint64Of("amount"))
	consolidationShape = newShape("consolidations",
		bytesOf("source_address", 20), bytesOf("source_pubkey", 48), bytesOf("target_pubkey", 48))
)

// requestLists are the lists in order, with MAX_*_REQUESTS_PER_PAYLOAD and the
// depth of the tree that holds as many.
var requestLists = [3]struct {
	*shape
	limit, depth int
}{
	{depositShape, 8192, 13},
	{withdrawalRequestShape, 16, 4},
	{consolidationShape, 2, 1},
}

// scanRequests reads ExecutionRequests in JSON and returns their SSZ.
func scanRequests(s *scanner) []byte {
	var lists [3][]byte
	o := s.object(requestsShape, nil)
	for s.more(&o) {
		for i := range requestLists {
			if l := &requestLists[i]; s.field == l.name {
				lists[i] = s.objects(nil, l.shape, l.limit)
				break
			}
		}
	}
	return joinRequests(lists)
}

// objects appends the SSZ of a list of containers of fixed size.
func (s *scanner) objects(out []byte, sh *shape, limit int) []byte {
	n := 0
	for s.item(&n, limit) {
		begin := len(out)
		out = slices.Grow(out, sh.size)[:begin+sh.size]
		o := s.object(sh, out[begin:])
		for s.more(&o) {
			s.skip() // a shape with other kinds is never passed here
		}
	}
	return out
}

func joinRequests(lists [3][]byte) []byte {
	var fixed [12]byte
	out := make([]byte, 0, len(fixed)+len(lists[0])+len(lists[1])+len(lists[2]))
	return requestsShape.join(out, fixed[:], lists[0], lists[1], lists[2])
}

// splitRequests cuts the SSZ of ExecutionRequests into its lists.
func splitRequests(b []byte) (lists [3][]byte, err error) {
	if err := requestsShape.split(b, lists[:]); err != nil {
		return lists, err
	}
	for i, l := range requestLists {
		if _, err := listLen(l.name, lists[i], l.size, l.limit); err != nil {
			return lists, err
		}
	}
	return lists, nil
}

func appendRequestsJSON(out, b []byte) []byte {
	lists, err := splitRequests(b)
	if err != nil { // set by hand, not decoded
		lists = [3][]byte{}
	}
	n := -1
	return requestsShape.appendObject(out, make([]byte, requestsShape.size), func(out []byte, _ string) []byte {
		n++
		return requestLists[n].appendObjects(out, lists[n])
	})
}
