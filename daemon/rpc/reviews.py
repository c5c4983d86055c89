"""ReviewService: people's decisions on verdicts, kept in order."""

from __future__ import annotations

import grpc

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.asking import LONGEST_PART_ID, MOST_EXPECTED
from lineside.daemon.rpc.callers import Callers
from lineside.daemon.rpc.desks import Desks, limited, request_key
from lineside.daemon.rpc.errors import bad_field, not_found
from lineside.daemon.rpc.names import check_device, child_id, child_name
from lineside.daemon.rpc.paging import decode_token, encode_token, number_of, page_size, whole_number
from lineside.daemon.rpc.ports import ReadsResults
from lineside.daemon.store.reviews import Review
from lineside.daemon.values import Result, Verdict
from lineside.v1 import results_pb2, reviews_pb2, reviews_pb2_grpc

LONGEST_COMMENT = 2000
LONGEST_ANSWER = 1000


class ReviewService(reviews_pb2_grpc.ReviewServiceServicer):
    """Keeps reviews; holds no state."""

    def __init__(
        self, appliance: RunningAppliance, results: ReadsResults, desks: Desks, callers: Callers, clock: Clock
    ) -> None:
        self._appliance = appliance
        self._results = results
        self._desk = desks.desk
        self._callers = callers
        self._clock = clock

    def SubmitReview(  # noqa: N802 - the contract's name
        self, request: reviews_pb2.SubmitReviewRequest, context: grpc.ServicerContext
    ) -> reviews_pb2.SubmitReviewResponse:
        """Stores a decision on one inspection."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        key = request_key("review", request, request.request_id)
        given = request.review
        evaluation = _evaluation(given.evaluation)
        result = self._result(given.inspection, device)
        if len(given.comment) > LONGEST_COMMENT:
            raise bad_field("review.comment", f"longer than {LONGEST_COMMENT} characters")
        if len(given.reviewer) > LONGEST_PART_ID or not given.reviewer.isprintable():
            raise bad_field("review.reviewer", f"at most {LONGEST_PART_ID} printable characters are wanted")
        if not limited(given.answers, MOST_EXPECTED, LONGEST_ANSWER):
            raise bad_field("review.answers", f"at most {MOST_EXPECTED} of {LONGEST_ANSWER} characters each")
        identity = self._callers.of(context).identity
        stored = self._desk.review(
            Review(
                result_id=result.result_id,
                evaluation=evaluation,
                verdict=result.verdict,
                answers=dict(given.answers),
                comment=given.comment,
                reviewer=given.reviewer or identity,
                submitted_by=identity,
                created_at=self._clock.now(),
            ),
            key,
        )
        return reviews_pb2.SubmitReviewResponse(review=_message(stored, device))

    def GetReview(  # noqa: N802 - the contract's name
        self, request: reviews_pb2.GetReviewRequest, context: grpc.ServicerContext
    ) -> reviews_pb2.GetReviewResponse:
        """One review."""
        device = self._appliance.device().device
        number = child_id(request.name, "reviews", device, "name")
        known = whole_number(number)
        found = self._desk.get_review(known) if known is not None else None
        if found is None:
            raise not_found("Review", request.name, f"no review '{number}' is stored")
        return reviews_pb2.GetReviewResponse(review=_message(found, device))

    def ListReviews(  # noqa: N802 - the contract's name
        self, request: reviews_pb2.ListReviewsRequest, context: grpc.ServicerContext
    ) -> reviews_pb2.ListReviewsResponse:
        """One page of reviews, oldest first."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        result_id = (
            child_id(request.inspection, "inspections", device, "inspection") if request.inspection else None
        )
        arguments = {"list": "reviews", "inspection": result_id or ""}
        size = page_size(request.page_size)
        after = number_of(decode_token(request.page_token, arguments)) or 0
        found = self._desk.reviews(after, size + 1, result_id)
        page = found[:size]
        more = encode_token(str(page[-1].number), arguments) if len(found) > size else ""
        return reviews_pb2.ListReviewsResponse(
            reviews=[_message(one, device) for one in page], next_page_token=more
        )

    def _result(self, name: str, device: str) -> Result:
        result_id = child_id(name, "inspections", device, "review.inspection")
        found = self._results.get(result_id)
        if found is None:
            raise not_found("Inspection", name, f"no inspection '{result_id}' is stored (yet)")
        return found


def _evaluation(given: results_pb2.ResultEvaluation.ValueType) -> Verdict:
    for verdict in Verdict:
        if convert.evaluation(verdict) == given:
            return verdict
    raise bad_field("review.evaluation", "OK, NOT_OK or NOT_DECIDABLE is wanted")


def _message(review: Review, device: str) -> reviews_pb2.Review:
    return reviews_pb2.Review(
        name=child_name(device, "reviews", str(review.number)),
        review=review.number,
        inspection=child_name(device, "inspections", review.result_id),
        evaluation=convert.evaluation(review.evaluation),
        answers=dict(review.answers),
        comment=review.comment,
        reviewer=review.reviewer,
        submitted_by=review.submitted_by,
        create_time=convert.timestamp(review.created_at),
        verdict=convert.evaluation(review.verdict),
    )
