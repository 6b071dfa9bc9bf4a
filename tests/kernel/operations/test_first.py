from tests.kernel.operations.house import House
import msgspec

async def test_it(house: House) -> None:
    r = await house.ask("notes.create", {"title": "Milk"})
    print(r)
    id = msgspec.json.decode(r.body)["id"]
    print(await house.ask("notes.get", path={"note_id": id}))
    print(await house.ask("notes.list"))
    print(await house.ask("deeds.do", {"what": "dig"}))
    print(await house.access())
    print(await house.entries())
