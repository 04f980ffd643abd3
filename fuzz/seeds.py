"""Writes the seeds of the fuzz targets, a few small files each, to corpus/TARGET beside this file. Needs Python alone."""

import base64
import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).parent
NIH_14 = (
    "Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax,Consolidation,Edema,Emphysema,Fibrosis,"
    "Pleural_Thickening,Hernia"
)
ZEROS = ",".join("0" * 13)

TABLES = {
    "own": "image,patient_id,age,sex,view,split,Mass,Effusion side,report\na.png,1,57,M,PA,train,1,left,\"A mass, large.\"\nb.png,2,061Y,F,AP,test,-1,,\n",
    "subset": f"image,patient_id,{NIH_14},split,has_256\na.png,1,{ZEROS},1,train,1\nb.png,2,{ZEROS},0,val,0\n",
    "nih": "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height]\n"
    "a.png,Cardiomegaly|Effusion,0,1,058Y,M,PA,2682,2749\nb.png,No Finding,1,1,59,F,AP,2894,2729\n",
    "synthetic": "image,origin,seed,prompt,model,Mass,source_id,fold,replica,steps,guidance\na.png,synthetic,7,A mass.,phantom,1,b.png,0,1,50,4.5\nb.png,real,,,,0,,,,,\n",
    "semicolons": "image;patient_id;Mass\r\na.png;1;1\r\nb.png;2;0\r\n",
    "tabs": "image\tpatient_id\tMass\na.png\t1\t1\n",
    "sep": "sep=;\nimage;Mass\na.png;1\n",
    "index": ",image,Mass\n0,a.png,1\n1,b.png,0\n",
    "words": "image,patient_id,Mass\na.png,nan,True\nb.png,None,0.0\nc.jpg,NA,1.00\n",
    "quote": 'image,Mass,report\na.png,1,"open\nb.png,0,x\n',
    "bom": "\ufeffimage,Mass\na.png,1\n",
    "old-mac": "image,Mass\ra.png,1\rb.png,0\r",
    "folders": "image,Mass\npart/d.png,1\n.\\part\\d.png,0\n~/x.png,0\n../a.png,1\n",
    "chexpert": "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly\na.png,Female,68,Frontal,AP,1.0,\nb.png,Male,87,Lateral,,,-1.0\n",
    "imagefolder": "file_name,label\na.png,Mass\nb.png,Effusion\n",
}
PUBLISHED = {
    "mimic": "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,"
    "Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices\n10000032,50414267,1.0,0.0,,-1.0,,,,,,1.0,,,,\n",
    "chexpert-plus": "path_to_image,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,age,sex,race,split,section_findings,section_impression\n"
    "a.png,Frontal,AP,patient1,5,62,Male,White,train,\"Lungs, clear.\",Clear.\n",
    "padchest": ",ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels,Report\n"
    "0,a.png,0,20140915,7,1930.0,F,PA,\"['pneumonia', ' kyphosis']\",x\n1,b.png,0,20140915,7,1930.0,O,COSTAL,,\n",
    "vindr": "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\na,No finding,14,R1,,,,\nb,Cardiomegaly,3,R1,1.0,2.0,3.0,4.0\nb,ILD,5,R2,1.0,2.0,3.0,4.0\n",
    "rsna": "patientId,x,y,width,height,Target\na,,,,,0\nb,1.0,2.0,3.0,4.0,1\n",
    "siim": "ImageId, EncodedPixels\na,-1\nb,557374 2 1015 8\n",
    "brax": "PngPath,PatientID,PatientSex,PatientAge,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices,ViewPosition,Rows,Columns\na.png,1,M,85 or more,1.0,,,,,-1.0,,,,,,,,,RL,2500,100\n",
    "nih-google": "Image Index,Patient ID,Patient Age,Patient Gender,View Position,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id\na.png,1,60,M,AP,NO,NO,YES,NO,test\n",
    "boxes": "Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Infiltrate,1.0,2.0,3.0,4.0\n",
    "openi": "uid,MeSH,Problems,image,indication,comparison,findings,impression\n1,Cardiomegaly/mild;Opacity/lung,x,x,x,None.,Clear.,Normal.\n",
    "roentgen": "image_id,text,gender,age,race,view,impression,Mass\na.png,57 year old male. Mass.,Male,57,WHITE,PA,Mass.,1\n",
}
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR1"/><Abstract><AbstractText Label="FINDINGS">Clear &amp; &#65;.</AbstractText>
<AbstractText Label="IMPRESSION"><![CDATA[Normal.]]></AbstractText></Abstract><MeSH><major>normal</major><automatic>x</automatic></MeSH>
<parentImage id="a"><caption>PA</caption></parentImage><parentImage id="b"/></eCitation>
"""
PROMPTS = {
    "prompts": "prompt,Mass,age,sex,view,seed\nA mass.,1,57,M,PA,3\n\"Small, left.\",0,,F,AP,\n",
    "manifest": "image,origin,source_id,patient_id,fold,replica,seed,prompt,prompt_kind,model,Mass\nx.png,synthetic,a.png,7,1,0,18446744073709551615,A mass.,report,phantom,1\n",
    "reports": "report,patient_id\nNo acute process.,1\n",
    "single": "prompt\nA\n",
}


def npy(descr, shape, values):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(values)


def npz(arrays, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array, method)
    return out.getvalue()


def medmnist(columns, **more):
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = npy("|u1", (2, 2, 2), range(8))
        arrays[f"{split}_labels"] = npy("|u1", (2, columns), [0, 1] * columns)
    return npz(arrays | more)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, row, interlace=0, extra=b""):
    """One `row` of bytes is every row; of an interlaced image of one pixel there is one row too."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = zlib.compress((b"\0" + row) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(bits, row, palette=b"", compression=0, top_down=False, width=4, height=2):
    pixels = row + b"\0" * (-len(row) % 4)
    pixels = pixels if compression else pixels * height
    offset = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression, len(pixels), 2835, 2835, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + palette + pixels


REQUEST = {
    "version": 1,
    "fingerprint": "ab" * 32,
    "pixels": "cd" * 32,
    "card": {"model": "phantom", "sampler": "PNDM", "steps": 50, "guidance_scale": 7.5},
    "request": {
        "prompt": "A mass.", "prompt_kind": "report", "labels": ["positive", "missing"], "seed": 5, "replica": 0,
        "source": {"id": "a.png", "patient_id": "1", "fold": 2}, "age": 63.5, "sex": "F", "view": "AP",
    },
    "channel_spread": 0.25,
    "gate": "passed",
    "nearest_real": {"id": "b.png", "distance": 0.5},
}


def itxt(text):
    return chunk(b"iTXt", b"roentgen:request\0\0\0\0\0" + text.encode())


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def jpegs():
    """Every eleventh of the JPEG files of the crate's tests."""
    with zipfile.ZipFile(HERE / "../augment/tests/fixtures/jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        return {Path(name).stem: archive.read(name) for name in names[::11]}


def element(group, number, vr, value, explicit=True, big=False):
    """One element of DICOM; `value` may be bytes, text, or numbers of two bytes. A length of None is not said."""
    order = ">" if big else "<"
    if isinstance(value, str):
        value = value.encode() + b" " * (len(value) % 2)
    elif isinstance(value, (list, tuple)):
        value = struct.pack(f"{order}{len(value)}H", *value)
    value += b"\0" * (len(value) % 2)
    tag = struct.pack(f"{order}HH", group, number)
    if not explicit:
        return tag + struct.pack(f"{order}I", len(value)) + value
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return tag + vr + b"\0\0" + struct.pack(f"{order}I", len(value)) + value
    return tag + vr + struct.pack(f"{order}H", len(value)) + value


def item(value):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def dicom(syntax, pixels=None, fragments=None, more=(), bits=12, rows=2, columns=2, mono="MONOCHROME2"):
    """A gray image of DICOM, without its preamble."""
    explicit, big = syntax != "1.2.840.10008.1.2", syntax.endswith(".1.2.2")
    make = lambda *parts: element(*parts, explicit=explicit, big=big)
    allocated = 8 if bits == 8 else 16
    elements = [
        (0x0010, 0x0010, b"PN", "A^B"), (0x0028, 0x0002, b"US", [1]), (0x0028, 0x0004, b"CS", mono), (0x0028, 0x0010, b"US", [rows]),
        (0x0028, 0x0011, b"US", [columns]), (0x0028, 0x0100, b"US", [allocated]), (0x0028, 0x0101, b"US", [bits]),
        (0x0028, 0x0102, b"US", [bits - 1]), (0x0028, 0x0103, b"US", [0]), *more,
    ]
    data = b"".join(make(*parts) for parts in sorted(elements, key=lambda parts: parts[:2]))
    if fragments is None:
        data += make(0x7FE0, 0x0010, b"OB" if bits == 8 else b"OW", pixels)
    else:
        data += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + item(b"")
        data += b"".join(item(part + b"\0" * (len(part) % 2)) for part in fragments) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if syntax.endswith(".99"):
        packer = zlib.compressobj(wbits=-15)
        data = packer.compress(data) + packer.flush()
    return b"DICM" + element(0x0002, 0x0010, b"UI", syntax.encode() + b"\0" * (len(syntax) % 2)) + data


def dicoms():
    uid = "1.2.840.10008.1.2"
    table = item(element(0x0028, 0x3002, b"US", [2, 0, 8]) + element(0x0028, 0x3006, b"OW", [0, 255]))
    window = [(0x0028, 0x1050, b"DS", "1000\\40"), (0x0028, 0x1051, b"DS", "1500"), (0x0028, 0x1052, b"DS", "-1024"), (0x0028, 0x1053, b"DS", "2")]
    endless = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + element(0x0010, 0x0010, b"PN", "A") + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    rle = struct.pack("<16I", 2, 64, 66, *[0] * 13) + bytes([253, 1, 3, 1, 2, 3, 4])
    counts = bytes([0, 0, 0, 0, 17, *[0] * 11])
    lossless = b"\xff\xd8\xff\xc3\0\x0b\x0c\0\x02\0\x02\x01\x01\x11\0\xff\xc4\0\x24\0" + counts + bytes(range(17))
    lossless += b"\xff\xda\0\x08\x01\x01\0\x01\0\0" + bytes(3) + b"\xff\xd9"
    j2k = bytes.fromhex(
        "ff4fff5100290000000000080000000600000000000000000000000800000006000000000000000000010f0101ff52000c00000001000204040001ff5c000a4080888890888890ff90000a00000000"
        "00670001ff93cffc3024088194f850aae84eefc03f60781fe01203fc0200096f3251bb98e7038879a1043e4cdfc0ff00f81fe04207fe0010217a97a9e64e2838dd77d87e58376f03d2dc8430c477"
        "537b2f78b9acf9a1371ff3176e6988e51fffd9"
    )
    with zipfile.ZipFile(HERE / "../augment/tests/fixtures/jpeg.zip") as archive:
        jpeg = archive.read("gray.jpg")
    pixels = struct.pack("<4H", 0, 1000, 2000, 4095)
    return {
        "explicit": dicom(uid + ".1", pixels), "implicit": dicom(uid, pixels), "big-endian": dicom(uid + ".2", pixels),
        "deflated": dicom(uid + ".1.99", pixels), "eight": dicom(uid + ".1", bytes(4), bits=8, mono="MONOCHROME1"),
        "window": dicom(uid + ".1", pixels, more=window), "sigmoid": dicom(uid + ".1", pixels, more=[*window, (0x0028, 0x1056, b"CS", "SIGMOID")]),
        "tables": dicom(uid + ".1", pixels, more=[(0x0028, 0x3000, b"SQ", table), (0x0028, 0x3010, b"SQ", table)]),
        "nested": dicom(uid + ".1", pixels, more=[(0x0008, 0x1111, b"SQ", item(element(0x0008, 0x1112, b"SQ", endless)))]),
        "rle": dicom(uid + ".5", fragments=[rle]), "lossless": dicom(uid + ".4.70", fragments=[lossless]),
        "jpeg": dicom(uid + ".4.50", fragments=[jpeg], bits=8, rows=37, columns=45),
        "jpeg-2000": dicom(uid + ".4.90", fragments=[j2k[:80], j2k[80:]], rows=6, columns=8),
    }


def tar(members, form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    # Padded to 10,240 bytes, which are more than a seed needs.
    return out.getvalue().rstrip(b"\0") + bytes(1024)


def tars():
    image = png(1, 1, 8, 0, b"\x07")
    labels = json.dumps({"Mass": 1, "Effusion": None, "patient_id": "7", "labels": 0}).encode()
    return {
        "json": tar({"a.png": image, "a.json": labels, "a.txt": b"A mass.", "b.json": labels, "b.png": image}),
        "classes": tar({"a.cls": b"Mass|Effusion", "a.jpg": image, "deep/b.cls": b"No Finding", "deep/b.png": image}),
        "pax": tar({"long/" * 30 + "a.png": image, "long/" * 30 + "a.json": labels}, tarfile.PAX_FORMAT),
        "gnu": tar({"long/" * 30 + "a.png": image, "long/" * 30 + "a.json": labels}),
        "others": tar({"./a.seg.png": image, "./a.png": image, "./a.json": b'{"Mass": -1.0}', "readme": b"x"}),
    }


# Files of one or two rows by pyarrow 26, without its schema and statistics.
PARQUET = {
    "snappy": (
        "UEFSMRUEFZABFZYBTBUCFQASAABI8EdEAAAAiVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAAC0lEQVR4nGNgZAAAAAUAAtFmM3gAAAAASUVORK5CYIIVABUSFRYsFQIV"
        "EBUGFQYcAAAACSACAAAAAgIBAgAVBBUAFQJMFQAVABIAAAAVABUOFRIsFQIVEBUGFQYcAAAABxgCAAAAAgEAFQQVEBUUTBUCFQASAAAIHAEAAAAAAAAAFQAVEhUWLBUCFRAVBhUGHAAA"
        "AAkgAgAAAAIBAQIAFQQZXDUAGAZzY2hlbWEVBAA1AhgFaW1hZ2UVBAAVDCUCGAVieXRlcwAVDCUCGARwYXRoJQBMHAAAABUEJQIYBE1hc3MAFgIZHBk8JgAcFQwZNQAGEBkoBWltYWdl"
        "BWJ5dGVzFQIWAhboARbyASa+ASYIKSwVBBUAFQIAFQAVEBUCADwWiAEZBhk2AAACAAAAJgAcFQwZNQAGEBkoBWltYWdlBHBhdGgVAhYCFlAWViaYAib6ASksFQQVABUCABUAFRAVAgA8"
        "FgAZBhk2AAIAAAAAJgAcFQQZNQAGEBkYBE1hc3MVAhYCFmQWbCaAAybQAiksFQQVABUCABUAFRAVAgA8KQYZJgACAAAAFpwDFgImCBa0AwAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNp"
        "b24gMjYuMC4xGTwcAAAcAAAcAAAARAEAAFBBUjE="
    ),
    "plain": (
        "UEFSMRUAFZwBFZwBLBUCFQAVBhUGHAAAAAIAAAACAkQAAACJUE5HDQoaCgAAAA1JSERSAAAAAgAAAAEIAAAAANFJIFYAAAALSURBVHicY2BkAAAABQAC0WYzeAAAAABJRU5ErkJgghUA"
        "FQwVDCwVAhUAFQYVBhwAAAACAAAAAgEVABUcFRwsFQIVABUGFQYcAAAAAgAAAAIBAQAAAAAAAAAVBBlcNQAYBnNjaGVtYRUEADUCGAVpbWFnZRUEABUMJQIYBWJ5dGVzABUMJQIYBHBh"
        "dGglAEwcAAAAFQQlAhgETWFzcwAWAhkcGTwmABwVDBklBgAZKAVpbWFnZQVieXRlcxUAFgIWxgEWxgEmCEkcFQAVABUCADwWiAEZBhk2AAACAAAAJgAcFQwZJQYAGSgFaW1hZ2UEcGF0"
        "aBUAFgIWMhYyJs4BSRwVABUAFQIAPBYAGQYZNgACAAAAACYAHBUEGSUGABkYBE1hc3MVABYCFkIWQiaAAkkcFQAVABUCADwpBhkmAAIAAAAWugIWAiYIFroCACggcGFycXVldC1jcHAt"
        "YXJyb3cgdmVyc2lvbiAyNi4wLjEZPBwAABwAABwAAAAjAQAAUEFSMQ=="
    ),
    "v2": (
        "UEFSMRUEFZABFaQBTBUCFQASAAAfiwgAAAAAAAIDc2FgYOgM8HPn5ZLiAjJ5PT1cgoA0ExAzcgAJhoueCmFAitvTxTGkYk5yQgqQw8rAdDHNuAIk7enq57LOKaEJAG67S0BIAAAAFQYV"
        "ChUKXBUCFQAVAhUQFQQVABIcAAAAAgIBAgAVBBUAFShMFQAVABIAAB+LCAAAAAAAAgMDAAAAAAAAAAAAFQYVBhUGXBUCFQIVAhUQFQQVABIcAAAAAgEAFQQVEBUuTBUCFQASAAAfiwgA"
        "AAAAAAIDY2SAAAD334ipCAAAABUGFQoVClwVAhUAFQIVEBUEFQASHAAAAAIBAQIAFQQZXDUAGAZzY2hlbWEVBAA1AhgFaW1hZ2UVBAAVDCUCGAVieXRlcwAVDCUCGARwYXRoJQBMHAAA"
        "ABUEJQIYBE1hc3MAFgIZHBk8JgAcFQwZNQAGEBkoBWltYWdlBWJ5dGVzFQQWAhbqARb+ASbMASYIKSwVBBUAFQIAFQAVEBUCADwWiAEZBhk2AAACAAAAJgAcFQwZNQAGEBkoBWltYWdl"
        "BHBhdGgVBBYCFlIWeibKAiaGAiksFQQVABUCABUAFRAVAgA8FgAZBhk2AAIAAAAAJgAcFQQZNQAGEBkYBE1hc3MVBBYCFmYWhAEmygMmgAMpLBUEFQAVAgAVABUQFQIAPCkGGSYAAgAA"
        "ABaiAxYCJggW/AMAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRk8HAAAHAAAHAAAAEUBAABQQVIx"
    ),
    "paths": (
        "UEFSMRUEFSQVNkwVBBUAEgAAKLUv/SASkQAABQAAAGEucG5nBQAAAGIucG5nFQAVEhUkLBUEFRAVBhUGHAAAACi1L/0gCUkAAAIAAAAEAQEDAhUEFRAVIkwVAhUAEgAAKLUv/SAIQQAA"
        "BAAAAE1hc3MVABUgFTIsFQQVEBUGFQYcAAAAKLUv/SAQgQAAAgAAAAQAAwAAAAMHAAECABUEFRAVIkwVAhUAEgAAKLUv/SAIQQAAAAAAAAAAAAAVABUSFSQsFQQVEBUGFQYcAAAAKLUv"
        "/SAJSQAAAgAAAAMCAQIAFQQZbDUAGAZzY2hlbWEVBgAVDCUCGAVpbWFnZSUATBwAAAA1AhgGbGFiZWxzFQIVBkw8AAAANQQYBGxpc3QVAgAVDCUCGAdlbGVtZW50JQBMHAAAABUKJQIY"
        "CEVmZnVzaW9uABYEGRwZPCYAHBUMGTUABhAZGAVpbWFnZRUMFgQWeBacASZaJggpLBUEFQAVAgAVABUQFQIAPBYUGQYZJgAEAAAAJgAcFQwZNQAGEBk4BmxhYmVscwRsaXN0B2VsZW1l"
        "bnQVDBYEFnIWlgEm4gEmpAEpLBUEFQAVAgAVABUQFQIAPBYIGSYEABlGAAIAAgAAACYAHBUKGTUABhAZGAhFZmZ1c2lvbhUMFgQWZBaIASb4Aia6AiksFQQVABUCABUAFRAVAgA8KQYZ"
        "JgICAAAAFs4CFgQmCBa6AwAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGTwcAAAcAAAcAAAAawEAAFBBUjE="
    ),
}


def main():
    palette = b"".join(struct.pack("<BBBB", v, v, v, 0) for v in range(16))
    seeds = {
        "tables": {name: text.encode() for name, text in (TABLES | PUBLISHED).items()} | {"utf-16": TABLES["own"].encode("utf-16")},
        "prompts": {name: text.encode() for name, text in PROMPTS.items()},
        "reports": {
            "report": REPORT.encode(),
            "not-indexed": REPORT.replace("normal", "No Indexing").encode(),
            "entities": REPORT.replace("<eCitation>", "<!DOCTYPE x [<!ENTITY a 'b'>]><eCitation>").replace("&amp;", "&a;").encode(),
            "archive": archive({"ecgen-radiology/1.xml": REPORT}),
        },
        "npz": {
            "chest": medmnist(14),
            "pneumonia": medmnist(1),
            "images": npz({"images": npy("|u1", (2, 2, 2), range(8))}),
            "stored": npz({"images": npy("|u1", (2, 2, 2), range(8))}, zipfile.ZIP_STORED),
            "wide": medmnist(1, train_labels=npy("<i8", (2, 1), struct.pack("<qq", 0, 1))),
            "column-major": npz({"images": npy("|u1", (2, 2, 2), range(8)).replace(b"False", b"True ")}),
            "big-endian": medmnist(1, val_labels=npy(">i4", (2, 1), struct.pack(">ii", 0, 1))),
        },
        "png": {
            "gray-8": png(4, 2, 8, 0, bytes(range(4))),
            "gray-16": png(4, 2, 16, 0, bytes(range(8))),
            "gray-1": png(8, 2, 1, 0, b"\xaa"),
            "gray-4": png(4, 2, 4, 0, b"\x1f\x2e"),
            "rgb": png(2, 2, 8, 2, bytes(range(6))),
            "rgb-16": png(1, 1, 16, 2, bytes(range(6))),
            "palette": png(4, 2, 8, 3, bytes([0, 1, 0, 1]), extra=chunk(b"PLTE", bytes(range(6))) + chunk(b"tRNS", b"\x80")),
            "gray-alpha": png(2, 2, 8, 4, bytes(range(4))),
            "rgba-16": png(1, 1, 16, 6, bytes(range(8))),
            "interlaced": png(1, 1, 8, 0, b"\x07", interlace=1),
            "gamma": png(1, 1, 8, 0, b"\x07", extra=chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sBIT", b"\x05")),
        },
        "png_text": {
            "sample": json.dumps(REQUEST).encode(),
            "file": png(2, 1, 8, 0, b"\x07\x08", extra=itxt(json.dumps(REQUEST))),
            "deep": png(2, 1, 16, 0, b"\x07\x08\x09\x0a", extra=itxt(json.dumps(REQUEST))),
            "bare": json.dumps({key: REQUEST[key] for key in ("version", "fingerprint", "pixels", "card", "request")}).encode(),
        },
        "dicom": dicoms(),
        "tar": tars(),
        "parquet": {name: base64.b64decode(text) for name, text in PARQUET.items()},
        "jpeg": jpegs(),
        "bmp": {
            "gray-8": bmp(8, bytes(range(4)), b"".join(struct.pack("<BBBB", v, v, v, 0) for v in range(4))),
            "gray-4": bmp(4, b"\x12\x34", palette),
            "mono": bmp(1, b"\xa0", palette[:4] + palette[-4:]),
            "rgb": bmp(24, bytes(range(12))),
            "rgbx": bmp(32, bytes(range(16)), top_down=True),
            "five": bmp(16, bytes(range(8))),
            "runs": bmp(8, b"\x04\x01\x00\x00\x00\x04\x01\x02\x03\x04\x00\x01", palette, compression=1),
        },
    }
    for target, files in seeds.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        print(f"{target}: {len(files)} seeds, {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main()
