"""The tutorial's way to send: a new connection for each message, nothing kept."""

import json
import os

import requests
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/api/sms")
def send():
    body = request.get_json()
    answer = requests.post(
        os.environ["ALIYUN_SMS_URL"],
        params={
            "PhoneNumbers": body["receivers"],
            "SignName": "阿里云",
            "TemplateCode": "SMS_1",
            "TemplateParam": json.dumps(body["params"]),
        },
        timeout=10,
    )
    return jsonify({"message": answer.json()["Message"]})
