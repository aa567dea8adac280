"""What a client says besides its calls is borne for a while."""

from service.net.talk import Talk


def test_so_much_is_borne_and_as_much_again_after_an_answer() -> None:
    talk = Talk()
    for _ in range(2):
        talk.heard(128 << 10)
        assert not talk.too_much
        talk.answered()
    talk.heard((128 << 10) + 1)
    assert talk.too_much


def test_what_was_of_use_does_not_count() -> None:
    talk = Talk()
    for _ in range(1000):
        talk.heard(1 << 10)
        talk.allow(1 << 10)
    assert not talk.too_much


def test_no_more_is_borne_than_can_be_on_its_way() -> None:
    talk = Talk()
    talk.allow(1 << 40)
    talk.answered()
    talk.heard((16 << 20) + (128 << 10))
    assert not talk.too_much
    talk.heard(1)
    assert talk.too_much
