"""What the formats must look like for one small picture, written by hand from their public descriptions."""

from __future__ import annotations

from runtime.interop.labels import Answers

COCO = {
    "info": {"description": "found by vlscore"},
    "licenses": [],
    "images": [
        {"id": 1, "file_name": "street.jpg", "width": 40, "height": 30},
        {"id": 2, "file_name": "empty.png", "width": 40, "height": 30},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [4.0, 5.0, 10.0, 15.0],
            "area": 150.0,
            "segmentation": [[4.25, 5.25, 4.25, 19.75, 13.75, 19.75, 13.75, 5.25]],
            "iscrowd": 0,
            "score": 0.9,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "bbox": [20.0, 10.0, 16.0, 15.0],
            "area": 240.0,
            "segmentation": [[20.25, 10.25, 20.25, 24.75, 35.75, 24.75, 35.75, 10.25]],
            "iscrowd": 0,
            "score": 0.75,
        },
    ],
    "categories": [
        {"id": 1, "name": "a red <bus>", "supercategory": ""},
        {"id": 2, "name": "a dog", "supercategory": ""},
    ],
}

YOLO = {
    "classes.txt": "a red <bus>\na dog\n",
    "street.txt": "0 0.225000 0.416667 0.250000 0.500000\n0 0.700000 0.583333 0.400000 0.500000\n",
    "empty.txt": "",
}

VOC = """\
<annotation>
  <folder />
  <filename>street.jpg</filename>
  <source>
    <database>vlscore</database>
  </source>
  <size>
    <width>40</width>
    <height>30</height>
    <depth>3</depth>
  </size>
  <segmented>0</segmented>
  <object>
    <name>a red &lt;bus&gt;</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>0</difficult>
    <score>0.9000</score>
    <bndbox>
      <xmin>5</xmin>
      <ymin>6</ymin>
      <xmax>14</xmax>
      <ymax>20</ymax>
    </bndbox>
  </object>
  <object>
    <name>a red &lt;bus&gt;</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>0</difficult>
    <score>0.7500</score>
    <bndbox>
      <xmin>21</xmin>
      <ymin>11</ymin>
      <xmax>36</xmax>
      <ymax>25</ymax>
    </bndbox>
  </object>
</annotation>
"""

CVAT = """\
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <size>2</size>
      <labels>
        <label>
          <name>a red &lt;bus&gt;</name>
          <attributes />
        </label>
        <label>
          <name>a dog</name>
          <attributes />
        </label>
      </labels>
    </task>
  </meta>
  <image id="0" name="street.jpg" width="40" height="30">
    <box label="a red &lt;bus&gt;" occluded="0" source="auto" xtl="4.00" ytl="5.00" xbr="14.00" ybr="20.00" z_order="0" />
    <box label="a red &lt;bus&gt;" occluded="0" source="auto" xtl="20.00" ytl="10.00" xbr="36.00" ybr="25.00" z_order="0" />
  </image>
  <image id="1" name="empty.png" width="40" height="30" />
</annotations>
"""

LABEL_STUDIO = [
    {
        "data": {"image": "/data/street.jpg"},
        "predictions": [
            {
                "model_version": "vlscore",
                "score": 0.9,
                "result": [
                    {
                        "id": "box0",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": 40,
                        "original_height": 30,
                        "image_rotation": 0,
                        "score": 0.9,
                        "value": {
                            "x": 10.0,
                            "y": 5 / 30 * 100,
                            "width": 25.0,
                            "height": 50.0,
                            "rotation": 0,
                            "rectanglelabels": ["a red <bus>"],
                        },
                    },
                    {
                        "id": "box1",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": 40,
                        "original_height": 30,
                        "image_rotation": 0,
                        "score": 0.75,
                        "value": {
                            "x": 50.0,
                            "y": 10 / 30 * 100,
                            "width": 40.0,
                            "height": 50.0,
                            "rotation": 0,
                            "rectanglelabels": ["a red <bus>"],
                        },
                    },
                ],
            }
        ],
    },
    {"data": {"image": "/data/empty.png"}, "predictions": [{"model_version": "vlscore", "score": 0.0, "result": []}]},
]


def two_pictures() -> Answers:
    """A street with two buses, and an empty picture."""
    from tests.runtime.interop.made import answer

    bus, dog = answer("a red <bus>", [(4, 5, 14, 20, 0.9), (20, 10, 36, 25, 0.75)]), answer("a dog", [])
    return {"street.jpg": [bus, dog], "empty.png": dog}
